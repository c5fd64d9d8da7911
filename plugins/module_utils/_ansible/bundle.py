# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names all of the engine's files, so that Ansible sends them with a module; nothing here is executed.

Ansible finds a module's helpers by reading its imports, not by running them. Written by tests/tools/bundle.py; a test
fails when a file is missing.
"""

from __future__ import annotations

from .provision import sources

__all__ = ["sources"]

NEVER = False
if NEVER:
    from ansible_collections.vitrine.engine.plugins.module_utils.vitrine import (  # noqa: F401
        __main__,
        errors,
        late_site,
        record,
        settings,
        version,
    )
    from ansible_collections.vitrine.engine.plugins.module_utils.vitrine.build import (  # noqa: F401
        dockerfile,
        ignore,
        lexer,
        words,
    )
    from ansible_collections.vitrine.engine.plugins.module_utils.vitrine.cli import (  # noqa: F401
        building,
        container_flags,
        flags,
        images,
        lifecycle,
        listing,
        progress,
        running,
        system,
        table,
    )
    from ansible_collections.vitrine.engine.plugins.module_utils.vitrine.engine import (  # noqa: F401
        archives,
        bootstrap,
        bundle,
        containers,
        core,
        distributions,
        images,
        inspect,
        parse,
        sessions,
        spec,
        starting,
        sweep,
        system,
    )
    from ansible_collections.vitrine.engine.plugins.module_utils.vitrine.engine.desired import (  # noqa: F401
        compare,
        execute,
        info,
        normalise,
        options,
        plan,
        serve,
    )
    from ansible_collections.vitrine.engine.plugins.module_utils.vitrine.linux import (  # noqa: F401
        caps,
        clone,
        command,
        features,
        fs,
        mount,
        namespaces,
        netlink,
        paths,
        prctl,
        process,
        syscall,
        xattr,
    )
    from ansible_collections.vitrine.engine.plugins.module_utils.vitrine.network import (  # noqa: F401
        files,
        iptables,
        links,
        nftables,
        plan,
        ports,
        rules,
    )
    from ansible_collections.vitrine.engine.plugins.module_utils.vitrine.oci import (  # noqa: F401
        config,
        descriptor,
        digest,
        document,
        manifest,
        media,
        platform,
        reference,
    )
    from ansible_collections.vitrine.engine.plugins.module_utils.vitrine.registry import (  # noqa: F401
        challenge,
        endpoints,
        retry,
        transport,
    )
    from ansible_collections.vitrine.engine.plugins.module_utils.vitrine.runtime import (  # noqa: F401
        bpf_devices,
        capabilities,
        entry,
        mounts,
        seal,
        seccomp,
        seccomp_compiler,
        seccomp_profile,
        syscalls_table,
        users,
    )
    from ansible_collections.vitrine.engine.plugins.module_utils.vitrine.runtime.cgroups import (  # noqa: F401
        detect,
        devices,
        files,
        groups,
        plans,
        processes,
        systemd,
        v1,
        v2,
    )
    from ansible_collections.vitrine.engine.plugins.module_utils.vitrine.store import (  # noqa: F401
        blobs,
        buildcache,
        containers,
        db,
        disk,
        images,
        leases,
        networks,
        volumes,
    )
    from ansible_collections.vitrine.engine.plugins.module_utils.vitrine.supervise import (  # noqa: F401
        attach,
        clients,
        clock,
        jsontext,
        launch,
        logfile,
        logs,
        loop,
        monitor,
        report,
        restart,
        run,
        state,
        stop,
        streams,
        wire,
    )
