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
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.__main__  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.build  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.build.copying  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.build.dockerfile  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.build.ignore  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.build.lexer  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.build.tree  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.build.words  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.cli  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.cli.building  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.cli.container_flags  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.cli.flags  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.cli.images  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.cli.lifecycle  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.cli.listing  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.cli.progress  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.cli.running  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.cli.system  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.cli.table  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.engine  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.engine.archives  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.engine.bootstrap  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.engine.bundle  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.engine.commits  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.engine.containers  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.engine.core  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.engine.desired  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.engine.desired.compare  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.engine.desired.execute  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.engine.desired.info  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.engine.desired.normalise  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.engine.desired.options  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.engine.desired.plan  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.engine.desired.serve  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.engine.distributions  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.engine.images  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.engine.inspect  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.engine.parse  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.engine.sessions  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.engine.spec  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.engine.starting  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.engine.sweep  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.engine.system  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.errors  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.late_site  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.linux  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.linux.caps  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.linux.clone  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.linux.command  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.linux.features  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.linux.fs  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.linux.mount  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.linux.namespaces  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.linux.netlink  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.linux.paths  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.linux.prctl  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.linux.process  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.linux.syscall  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.linux.xattr  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.network  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.network.files  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.network.iptables  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.network.links  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.network.nftables  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.network.plan  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.network.ports  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.network.rules  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.oci  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.oci.config  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.oci.descriptor  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.oci.digest  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.oci.document  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.oci.manifest  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.oci.media  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.oci.platform  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.oci.reference  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.record  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.registry  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.registry.challenge  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.registry.endpoints  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.registry.retry  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.registry.transport  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.runtime  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.runtime.bpf_devices  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.runtime.capabilities  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.runtime.cgroups  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.runtime.cgroups.changes  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.runtime.cgroups.detect  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.runtime.cgroups.devices  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.runtime.cgroups.files  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.runtime.cgroups.groups  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.runtime.cgroups.oom  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.runtime.cgroups.plans  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.runtime.cgroups.processes  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.runtime.cgroups.systemd  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.runtime.cgroups.usage  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.runtime.cgroups.v1  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.runtime.cgroups.v2  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.runtime.entry  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.runtime.mounts  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.runtime.seal  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.runtime.seccomp  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.runtime.seccomp_compiler  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.runtime.seccomp_profile  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.runtime.syscalls_table  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.runtime.users  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.settings  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.store.blobs  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.store.buildcache  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.store.containers  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.store.db  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.store.disk  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.store.images  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.store.leases  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.store.networks  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.store.volumes  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.supervise  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.supervise.attach  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.supervise.clients  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.supervise.clock  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.supervise.jsontext  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.supervise.launch  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.supervise.logfile  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.supervise.logs  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.supervise.loop  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.supervise.monitor  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.supervise.report  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.supervise.restart  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.supervise.run  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.supervise.state  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.supervise.stop  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.supervise.streams  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.supervise.wire  # noqa: F401
    import ansible_collections.vitrine.engine.plugins.module_utils.vitrine.version  # noqa: F401
