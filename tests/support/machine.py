# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole Debian host for tests, in software emulation: its own kernel, systemd, cgroup version 2 alone, AppArmor.

    image = prepare()                     made once per machine, kept in base_image.cache_folder()
    with Machine(image, folder) as machine:
        machine.run("systemctl is-system-running")
        machine.power_cut(); machine.boot()

What a machine writes goes to an overlay in its folder; the image stays as it was made.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from support.base_image import alone, cache_folder
from vitrine.linux.prctl import die_with_parent

SUITE = "bookworm"
# what a small server has, and what the role would install: emulated, that takes minutes
PACKAGES = (
    "apparmor,busybox-static,ca-certificates,conntrack,dbus,iproute2,iptables,kmod,libpam-systemd,linux-image-cloud-amd64,"
    "mmdebstrap,nftables,openssh-server,procps,python3,python3-apt,python3-pyroute2,python3-requests,python3-zstandard,"
    "strace,sudo,systemd-sysv,udev"
)
# what a test never waits for, and emulated takes long
MASKED = (
    "apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer dpkg-db-backup.timer "
    "systemd-timesyncd.service getty@tty1.service"
)
NETWORK = "[Match]\nName=en* eth*\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=ipv6\n"
SIZE = "4G"
BOOT_SECONDS = 400
_RECIPE = f"4 {SUITE} {PACKAGES} {MASKED} {NETWORK} {SIZE}"

_CUSTOMIZE = """
set -eu
root=$1
mkdir -p "$root/root/.ssh" "$root/etc/systemd/network" "$root/etc/initramfs-tools"
chmod 0700 "$root/root/.ssh"
cp "$KEY.pub" "$root/root/.ssh/authorized_keys"
printf '%s' "$NETWORK" >"$root/etc/systemd/network/10-all.network"
echo vitrine-test >"$root/etc/hostname"
printf '127.0.0.1 localhost vitrine-test\\n::1 localhost\\n' >"$root/etc/hosts"
printf '/dev/vda / ext4 errors=remount-ro 0 1\\n' >"$root/etc/fstab"
printf 'UseDNS no\\n' >"$root/etc/ssh/sshd_config.d/test.conf"
# dhclient or resolved would bring names; what is tested here reaches nothing outside
echo 'nameserver 10.0.2.3' >"$root/etc/resolv.conf"
chroot "$root" systemctl enable systemd-networkd.service
chroot "$root" systemctl mask $MASKED
mkdir -p "$root/var/log/journal"
"""


class Image:
    """What a machine is started from. disk: raw; key: of root's ssh login."""

    def __init__(self, folder: Path) -> None:
        self.disk, self.kernel, self.initrd, self.key = (
            folder / name for name in ("disk.raw", "vmlinuz", "initrd", "key")
        )


def prepare() -> Image:
    """Make the image, or take the one of an earlier run. Raises RuntimeError with what the making said."""
    name = "vm-" + hashlib.sha256(_RECIPE.encode()).hexdigest()[:12]
    folder = cache_folder() / name
    with alone("vm"):
        if not folder.exists():
            for old in cache_folder().glob("vm-*"):
                if old.is_dir():
                    shutil.rmtree(old)
            partial = Path(tempfile.mkdtemp(prefix="new-vm-", dir=cache_folder()))
            try:
                _make(partial)
                partial.rename(folder)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    return Image(folder)


def _make(folder: Path) -> None:
    image = Image(folder)
    _do("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "vitrine-test", "-f", str(image.key))
    tree = folder / "root"
    hook = folder / "customize"
    hook.write_text("#!/bin/sh\n" + _CUSTOMIZE)
    hook.chmod(0o755)
    _do(
        "mmdebstrap",
        "--quiet",
        "--variant=apt",
        f"--include={PACKAGES}",
        f"--customize-hook={hook}",
        *(f"--aptopt={option}" for option in _apt_options()),
        SUITE,
        str(tree),
        *_mirrors(),
        env={**os.environ, "KEY": str(image.key), "NETWORK": NETWORK, "MASKED": MASKED},
    )
    (kernel,) = tree.glob("boot/vmlinuz-*")
    (initrd,) = tree.glob("boot/initrd.img-*")
    shutil.copy(kernel, image.kernel)
    shutil.copy(initrd, image.initrd)
    for path in (*tree.glob("boot/*"), *tree.glob("var/cache/apt/*.bin")):
        path.unlink()
    _do("mke2fs", "-q", "-t", "ext4", "-L", "root", "-d", str(tree), str(image.disk), SIZE)
    shutil.rmtree(tree)
    hook.unlink()


def _mirrors() -> list[str]:
    """The host's own package sources when they are of the suite, else the official ones."""
    text = Path("/etc/os-release").read_text()
    if f"VERSION_CODENAME={SUITE}" not in text:
        return []
    files = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*.sources"))]
    return [str(path) for path in files if path.exists() and SUITE in path.read_text()]


def _apt_options() -> list[str]:
    """How this host's apt reaches its sources: proxies, and what it does not check."""
    lines = _do("apt-config", "dump", "Acquire").splitlines() if shutil.which("apt-config") else []
    wanted = ("Acquire::Check-", "Acquire::http", "Acquire::ftp", "Acquire::Retries")
    return [line for line in lines if line.startswith(wanted) and not line.endswith('"";')]


def _do(*argv: str, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(argv, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise RuntimeError(f"{argv[0]} failed ({done.returncode}):\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout


class Machine:
    """One emulated host. folder: for its disk's overlay, console and key; the caller's to remove.

    forward: ports of it that are reached here, at 127.0.0.1 and the port that the attribute of this name says.
    """

    def __init__(self, image: Image, folder: Path, *, memory: int = 2048, forward: tuple[int, ...] = ()) -> None:
        self.image, self.folder, self.memory = image, folder, memory
        self.forward = {port: 0 for port in (22, *forward)}  # port of the machine -> port of 127.0.0.1 here
        self.overlay = folder / "overlay.qcow2"
        self.console = folder / "console.log"
        self.key = folder / "key"
        shutil.copy(image.key, self.key)
        self.key.chmod(0o600)
        self.process: subprocess.Popen[bytes] | None = None
        _do("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(image.disk), str(self.overlay))

    def __enter__(self) -> Machine:
        self.boot()
        return self

    def __exit__(self, *_how: object) -> None:
        self.power_cut()

    @property
    def port(self) -> int:
        """Where its ssh is, at 127.0.0.1."""
        return self.forward[22]

    def boot(self) -> None:
        """Switch it on, and wait until its ssh answers."""
        for port in self.forward:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.forward[port] = probe.getsockname()[1]
        forwards = "".join(f",hostfwd=tcp:127.0.0.1:{here}-:{port}" for port, here in self.forward.items())
        argv = ["qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2"]
        argv += ["-m", str(self.memory), "-display", "none", "-vga", "none", "-monitor", "none", "-no-user-config"]
        argv += ["-serial", f"file:{self.console}", "-kernel", str(self.image.kernel)]
        argv += ["-initrd", str(self.image.initrd)]
        argv += ["-append", "console=ttyS0 root=/dev/vda rw quiet panic=-1 systemd.show_status=1"]
        argv += ["-drive", f"file={self.overlay},format=qcow2,if=virtio"]
        argv += ["-netdev", f"user,id=net0{forwards}"]
        argv += ["-device", "virtio-net-pci,netdev=net0,romfile=", "-device", "virtio-rng-pci"]
        here = os.getpid()
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, preexec_fn=lambda: die_with_parent(here))
        self.await_up()

    def await_up(self, after: str = "") -> None:
        """Wait until ssh answers, from a boot whose id is not after. Raises RuntimeError with the console's tail."""
        end = time.monotonic() + BOOT_SECONDS
        while time.monotonic() < end:
            assert self.process is not None
            if self.process.poll() is not None:
                raise RuntimeError(f"the emulator ended ({self.process.returncode}): {self.tail()}")
            done = self.run("cat /proc/sys/kernel/random/boot_id", check=False, timeout=60)
            if done.returncode == 0 and done.stdout.strip() != after:
                return
            time.sleep(1)
        raise RuntimeError(f"the machine does not answer:\n{self.tail()}")

    def boot_id(self) -> str:
        """Which boot this is."""
        return self.run("cat /proc/sys/kernel/random/boot_id").stdout.strip()

    def power_cut(self) -> None:
        """End it at once: what its kernel had not written yet is lost."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def ssh_options(self) -> list[str]:
        """How to reach it: for ssh, scp and Ansible."""
        options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "ConnectTimeout=30")
        return ["-i", str(self.key), *(word for option in options for word in ("-o", option))]

    def run(self, command: str, *, check: bool = True, timeout: int = 300, data: bytes | None = None):
        """Run a shell command as root; returns CompletedProcess with texts. data: its standard input."""
        argv = ["ssh", *self.ssh_options(), "-p", str(self.port), "root@127.0.0.1", command]
        stdin = {"input": data} if data is not None else {"stdin": subprocess.DEVNULL}
        try:
            done = subprocess.run(argv, capture_output=True, timeout=timeout, **stdin)
        except subprocess.TimeoutExpired as error:
            if not check:
                return subprocess.CompletedProcess(argv, 255, "", "timeout")
            raise AssertionError(f"{command!r} takes more than {timeout} s:\n{error.stdout}{error.stderr}") from None
        done = subprocess.CompletedProcess(argv, done.returncode, done.stdout.decode(), done.stderr.decode())
        if check and done.returncode:
            raise AssertionError(f"{command!r} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    def tail(self, lines: int = 60) -> str:
        """The end of what it wrote to its console."""
        text = self.console.read_text(errors="replace") if self.console.exists() else ""
        return "\n".join(text.splitlines()[-lines:])
