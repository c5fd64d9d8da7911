# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A base image without any registry, from a distribution's own signed packages.

The distribution's own bootstrap program fills a directory inside the store's root; what differs from run to run is
taken out (sweep.py); the rest becomes one layer whose times are clamped to the newest packaged file. So the same
packages give the same layer digest and the same image id, on whatever day they are installed.

The image's package sources are the ones that it was made from: by default the host's own mirror, since a host may
reach nothing else, else the official archive.
"""

from __future__ import annotations

import errno
import json
import os
import time

from ..errors import DiskFull, HostError, InvalidInput
from ..linux import command
from ..oci import reference as references
from ..store.layers.staging import Staging
from . import distributions, rpmdb, sweep
from .distributions import Distribution, Source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ..store import Store

    Progress = Callable[[dict[str, Any]], None]
    Fill = Callable[["_Plan", str, str], None]

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_KEYRING_TEXT = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._+-"


class _Plan:
    """What is to be installed, and from where: all that the programs' command lines are made of."""

    def __init__(self, distribution: Distribution, suite: str, variant: str, architecture: str) -> None:
        self.distribution = distribution
        self.suite = suite
        self.variant = variant
        self.architecture = architecture
        self.foreign = architecture != distributions.image_architecture(os.uname().machine)
        self.sources: tuple[Source, ...] = ()
        self.packages: tuple[str, ...] = ()
        self.keyring = ""

    @property
    def package_architecture(self) -> str:
        return distributions.ARCHITECTURES[self.architecture][self.distribution.family == "rpm"]


def bootstrap(
    store: Store,
    reference: str,
    *,
    suite: str | None = None,
    distribution: str | None = None,
    mirror: str | None = None,
    packages: Sequence[str] = (),
    variant: str = "minbase",
    components: Sequence[str] | None = None,
    keyring: str | None = None,
    architecture: str | None = None,
    progress: Progress | None = None,
) -> str:
    """Make the image ``reference`` from its distribution's packages and return its id ("sha256:...").

    The reference's repository and tag say distribution and suite ("debian:bookworm", "ubuntu:24.04",
    "centos:stream9") unless these are given. mirror: the archive's address; then the image's sources name it, and
    only the suite itself, not its updates. packages: more packages. variant: minbase, buildd or important.
    keyring: path of the keys that may sign the archive. architecture: as images or the distribution name it.
    progress: called with {"id", "status"}.

    Raises InvalidInput for values that mean nothing, HostError where the host has no bootstrap program or no keys
    for this distribution or the program failed, DiskFull.
    """
    if os.geteuid() != 0:
        raise HostError("a base image can be bootstrapped by root only", hint="run it as root, for example with sudo")
    name = references.parse(reference)
    plan = _plan(
        name,
        suite=suite,
        distribution=distribution,
        mirror=mirror,
        packages=packages,
        variant=variant,
        components=components,
        keyring=keyring,
        architecture=architecture,
    )
    fill = _program(plan.distribution)
    try:
        with Staging(store.layers.root) as staging:
            return _make(store, name.canonical, plan, fill, staging, progress)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(
                f"no space left in {store.root} for a base image of {plan.distribution.name} {plan.suite}",
                hint="free some space: half a GiB is needed for a small image",
                value=store.root,
            ) from None
        raise


def _make(store: Store, name: str, plan: _Plan, fill: Fill, staging: Staging, progress: Progress | None) -> str:
    root = staging.tree
    started = time.time()
    _tell(progress, plan, f"Installing packages with {fill.__name__[1:]}")
    fill(plan, root, staging.path)
    _settle(plan, root)
    sweep.sweep(root)
    epoch = sweep.newest_packaged(root, started)
    sweep.date_accounts(root, epoch)
    if plan.distribution.family == "rpm":
        rpmdb.settle(root, epoch)
    _tell(progress, plan, "Importing")
    layer = store.layers.import_tree(root, parent=None, clamp_mtime=epoch)
    config = json.dumps(_image_config(plan, layer.diff_id, epoch), separators=(",", ":"), sort_keys=True).encode()
    image_id: str = store.images.add(config, [layer.diff_id])
    store.images.tag(name, image_id)
    _tell(progress, plan, "Complete")
    return image_id


# -- deciding --------------------------------------------------------------------------------------------------------


def _plan(name: Any, **options: Any) -> _Plan:
    os_release = distributions.parse_os_release(_read("/etc/os-release") or _read("/usr/lib/os-release"))
    distribution, suite = distributions.choose(
        name.repository,
        name.tag or "latest",
        distribution=options["distribution"],
        suite=options["suite"],
        os_release=os_release,
    )
    if options["variant"] not in distributions.VARIANTS:
        raise InvalidInput(
            f"{options['variant']!r} is no variant of a base system",
            hint=f"use one of {', '.join(distributions.VARIANTS)}",
            value=options["variant"],
        )
    architecture = distributions.image_architecture(options["architecture"] or os.uname().machine)
    plan = _Plan(distribution, suite, options["variant"], architecture)
    plan.packages = distributions.check_packages(options["packages"])
    components = distributions.check_components(options["components"] or distribution.components)
    plan.keyring = _keyring(distribution, options["keyring"])
    if options["mirror"]:
        plan.sources = (Source(distributions.check_mirror(options["mirror"]), suite, components),)
    elif distribution.family == "rpm":
        own = os_release.get("ID") == distribution.name and os_release.get("VERSION_ID") == suite
        plan.sources = () if own else (Source(distribution.archive, suite, components),)
    else:
        if os_release.get("ID") == distribution.name and not plan.foreign:
            codename = os_release.get("VERSION_CODENAME", "")
            plan.sources = distributions.host_sources(distribution, suite, components, _host_entries(), codename)
        plan.sources = plan.sources or distributions.official_sources(distribution, suite, components, architecture)
    return plan


def _keyring(distribution: Distribution, given: str | None) -> str:
    path = given or distribution.keyring
    if path.strip(_KEYRING_TEXT) or not path.startswith("/"):
        raise InvalidInput(f"{path!r} cannot be used as a keyring", hint="give a plain absolute path", value=path)
    if not os.path.isfile(path):
        raise HostError(
            f"the keys that sign {distribution.name}'s packages are not on this host: {path} is missing",
            hint=f"install {distribution.keyring_package}, or name another keyring",
            value=path,
        )
    return path


def _host_entries() -> list[Source]:
    entries = distributions.parse_sources(_read("/etc/apt/sources.list"), deb822=False)
    folder = "/etc/apt/sources.list.d"
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        if name.endswith((".list", ".sources")):
            text = _read(os.path.join(folder, name))
            entries += distributions.parse_sources(text, deb822=name.endswith(".sources"))
    return entries


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _program(distribution: Distribution) -> Fill:
    if distribution.family == "rpm":
        if command.which("dnf"):
            return _dnf
        raise HostError(
            f"no program to make a base image of {distribution.name} is on this host",
            hint="install dnf (it is CentOS's own; on Debian and Ubuntu: apt-get install dnf)",
            value="dnf",
        )
    for name, fill in (("mmdebstrap", _mmdebstrap), ("debootstrap", _debootstrap)):
        if command.which(name):
            return fill
    raise HostError(
        f"no program to make a base image of {distribution.name} is on this host",
        hint="install mmdebstrap or debootstrap (Debian, Ubuntu: apt-get install mmdebstrap; "
        "CentOS: dnf install epel-release, then dnf install debootstrap)",
        value="mmdebstrap",
    )


# -- installing ------------------------------------------------------------------------------------------------------


def _mmdebstrap(plan: _Plan, root: str, work: str) -> None:
    argv = ["mmdebstrap", "--mode=root", "--format=directory", f"--variant={plan.variant}"]
    argv.append(f"--architectures={plan.package_architecture}")
    if plan.packages:
        argv.append(f"--include={','.join(plan.packages)}")
    text = "".join(source.line(plan.keyring) + "\n" for source in plan.sources)
    _run([*argv, plan.suite, root, "-"], work, stdin=text.encode())


def _debootstrap(plan: _Plan, root: str, work: str) -> None:
    main = plan.sources[0]
    argv = ["debootstrap", f"--arch={plan.package_architecture}", f"--keyring={plan.keyring}"]
    argv.append(f"--components={','.join(main.components)}")
    if plan.variant != "important":
        argv.append(f"--variant={plan.variant}")
    _run([*argv, plan.suite, root, main.uri], work)
    # What mmdebstrap does in one go: the updates' packages, and the further ones.
    sweep.write_file(root, "/etc/apt/sources.list", _sources_list(plan, root))
    sweep.write_file(root, "/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)
    _run(["chroot", root, "apt-get", "-q", "update"], work)
    _run(["chroot", root, "apt-get", "-q", "-y", "dist-upgrade"], work)
    if plan.packages:
        _run(["chroot", root, "apt-get", "-q", "-y", "--no-install-recommends", "install", *plan.packages], work)


def _dnf(plan: _Plan, root: str, work: str) -> None:
    minimal = ["bash", "centos-stream-release", "coreutils-single", "dnf", "glibc-minimal-langpack"]
    more = {"minbase": [], "buildd": ["gcc", "make", "rpm-build"], "important": ["@core"]}[plan.variant]
    argv = ["dnf", "-y", f"--installroot={root}", f"--releasever={plan.suite}", "--setopt=install_weak_deps=False"]
    argv += ["--setopt=tsflags=nodocs", f"--setopt=cachedir={work}/cache", "--setopt=keepcache=False"]
    if plan.foreign:
        argv.append(f"--forcearch={plan.package_architecture}")
    if plan.sources:
        argv.append("--disablerepo=*")
        source = plan.sources[0]
        for component in source.components:
            repository = f"bootstrap-{component.lower()}"
            address = f"{source.uri}/{plan.suite}-stream/{component}/{plan.package_architecture}/os/"
            argv += [f"--repofrompath={repository},{address}", f"--setopt={repository}.gpgcheck=1"]
            argv.append(f"--setopt={repository}.gpgkey=file://{plan.keyring}")
    else:
        argv += ["--setopt=reposdir=/etc/yum.repos.d", "--setopt=varsdir=/etc/dnf/vars"]
    _run([*argv, "install", *minimal, *more, *plan.packages], work)


def _run(argv: list[str], work: str, stdin: bytes | None = None) -> None:
    """Run a host program so that it, its children and its mounts end with this process, however that ends."""
    wrapped = argv
    if command.which("unshare"):
        wrapped = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--", *argv]
        if command.which("setpriv"):
            wrapped = ["setpriv", "--pdeathsig", "KILL", "--", *wrapped]
    env = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    env.update(PATH=PATH, HOME="/root", LC_ALL="C.UTF-8", TMPDIR=work if argv[0] != "chroot" else "/tmp")
    # Otherwise the order of keys differs from run to run in the files that interpreters write.
    env.update(DEBIAN_FRONTEND="noninteractive", DEBCONF_NONINTERACTIVE_SEEN="true")
    env.update(PERL_HASH_SEED="0", PYTHONHASHSEED="0")
    done = command.run(wrapped, input=stdin or b"", env=env)
    if done.status == 0:
        return
    text = (done.stdout + b"\n" + done.stderr).decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if any("No space left on device" in line for line in lines):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    telling = [line for line in lines if line.startswith(("E:", "Err:", "W:", "Error:"))] or lines
    program = argv[2] if argv[0] == "chroot" else argv[0]
    raise HostError(
        f"{program} failed with status {done.status}: {' / '.join(telling[-4:]) or 'it said nothing'}",
        hint="see that the package archive can be reached and has this suite, or give another mirror",
        value=program,
    )


# -- finishing -------------------------------------------------------------------------------------------------------


def _sources_list(plan: _Plan, root: str) -> str:
    # Recent releases trust no key for everything: say which one it is, where the image has it.
    own = plan.distribution.keyring if os.path.isfile(root + plan.distribution.keyring) else ""
    return "".join(source.line(own) + "\n" for source in plan.sources)


def _settle(plan: _Plan, root: str) -> None:
    """Write what makes a package system suit a container: its sources, no services started, no caches kept."""
    if plan.distribution.family != "deb":
        return
    sweep.write_file(root, "/etc/apt/sources.list", _sources_list(plan, root))
    sweep.write_file(root, "/usr/sbin/policy-rc.d", "#!/bin/sh\n# No service starts in an image.\nexit 101\n", 0o755)
    sweep.write_file(
        root,
        "/etc/apt/apt.conf.d/90container",
        'APT::Keep-Downloaded-Packages "false";\nBinary::apt::APT::Keep-Downloaded-Packages "false";\n'
        'Dir::Cache::pkgcache "";\nDir::Cache::srcpkgcache "";\nAcquire::Languages "none";\n',
    )
    # A layer is thrown away when its instruction fails: each file's own fsync guards nothing.
    sweep.write_file(root, "/etc/dpkg/dpkg.cfg.d/90container", "force-unsafe-io\n")


def _image_config(plan: _Plan, diff_id: str, epoch: int) -> dict[str, Any]:
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))
    words = ["bootstrap", plan.distribution.name, plan.suite, plan.variant, *plan.packages]
    config: dict[str, Any] = {
        "architecture": plan.architecture,
        "os": "linux",
        "created": created,
        "config": {"Env": [f"PATH={PATH}"], "Cmd": [plan.distribution.command]},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": created, "created_by": " ".join(words)}],
    }
    if plan.architecture in ("arm", "arm64"):
        config["variant"] = "v7" if plan.architecture == "arm" else "v8"
    return config


def _tell(progress: Progress | None, plan: _Plan, status: str) -> None:
    if progress is not None:
        progress({"id": f"{plan.distribution.name} {plan.suite}", "status": status})
