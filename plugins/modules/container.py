#!/usr/bin/python
# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage containers"""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: container
short_description: Manage containers
version_added: 0.1.0
author:
  - The Vitrine authors (@vitrine-containers)
description:
  - Creates, compares, starts, stops and removes containers on the target. The target needs Python 3.9 or newer and
    root; nothing has to be installed before, and no daemon runs.
  - Options, defaults, comparison rules and return values are those of M(community.docker.docker_container), so that
    existing tasks only change the name of the module. Spellings of M(containers.podman.podman_container) are
    aliases.
  - Only options that the task gives are compared with an existing container. If one differs, limits and the restart
    policy are changed in place, and for all others the container is made anew.
extends_documentation_fragment:
  - vitrine.engine._attributes
  - vitrine.engine._engine
  - vitrine.engine._credentials
attributes:
  check_mode:
    support: partial
    details:
      - An image that would have to be pulled is not known yet; so check mode cannot say whether a pull brings a
        change. See O(pull_check_mode_behavior).
  diff_mode:
    support: full
  idempotent:
    support: partial
    details:
      - O(recreate=true), O(restart=true) and O(detach=false) do what they say each time.
  platform:
    support: full
  action_group:
    support: full
options:
  auto_remove:
    description:
      - Remove the container when it has ended.
    type: bool
    aliases:
      - rm
  blkio_weight:
    description:
      - Weight of block input and output, 10 to 1000.
    type: int
  cap_drop:
    description:
      - Capabilities to take from the default ones, or V(all).
    type: list
    elements: str
  capabilities:
    description:
      - Capabilities to add to the default ones, such as V(NET_ADMIN), or V(all).
    type: list
    elements: str
    aliases:
      - cap_add
  cleanup:
    description:
      - With O(detach=false), remove the container when it has ended.
    type: bool
    default: false
  command:
    description:
      - The command, as a list or as a text that is split like a shell does, without being interpreted by one.
      - An empty list is the empty command; without this option the image's command is run.
    type: raw
  comparisons:
    description:
      - How the values of single options are compared with those of an existing container - option or alias to
        V(strict), V(ignore) or V(allow_more_present).
      - The default is V(strict) for values and ordered lists, and V(allow_more_present) for sets and dictionaries;
        O(stop_timeout) is ignored.
      - So an entry that is removed from, for example, O(env) or O(labels) is not a change, unless the option is
        compared V(strict).
      - The key V(*) sets V(strict) or V(ignore) for all options, and others refine it.
    type: dict
  cpu_period:
    description:
      - Length of the scheduler's period in microseconds.
    type: int
  cpu_quota:
    description:
      - Microseconds of CPU time per period.
    type: int
  cpu_shares:
    description:
      - Weight against other containers when CPUs are scarce; 1024 is normal.
    type: int
  cpus:
    description:
      - How many CPUs the container may use, such as V(0.5).
    type: float
  cpuset_cpus:
    description:
      - CPUs on which to run, such as V(0-2,4).
    type: str
  cpuset_mems:
    description:
      - Memory nodes from which to allocate, such as V(0,1).
    type: str
  default_host_ip:
    description:
      - The address of the host for published ports that name none; all addresses by default.
    type: str
  detach:
    description:
      - V(true) - return as soon as the container runs.
      - V(false) - wait until it ends; return its RV(status) and output, and fail if the status is not 0.
    type: bool
    default: true
  devices:
    description:
      - Devices of the host, as V(/dev/on-host[:/dev/in-container][:rwm]).
    type: list
    elements: str
    aliases:
      - device
  dns_opts:
    description:
      - Options of the resolver, as in C(/etc/resolv.conf).
    type: list
    elements: str
    aliases:
      - dns_option
  dns_search_domains:
    description:
      - Search domains.
    type: list
    elements: str
    aliases:
      - dns_search
  dns_servers:
    description:
      - Addresses of name servers.
    type: list
    elements: str
    aliases:
      - dns
  domainname:
    description:
      - The container's domain name.
    type: str
  entrypoint:
    description:
      - The entry point, as a list or as a text. It replaces the image's entry point, and the image's command with it.
    type: raw
  env:
    description:
      - Environment variables. Values must be strings - put numbers and words such as V(true) in quotes.
    type: dict
  env_file:
    description:
      - Path, on the target, of a file with one V(NAME=value) per line. Values of O(env) win.
    type: path
  etc_hosts:
    description:
      - Entries for C(/etc/hosts) - host name to address; V(host-gateway) stands for the address of the host on the
        bridge.
    type: dict
    aliases:
      - add_hosts
  exposed_ports:
    description:
      - Ports that the container exposes, as V(80), V(80/udp) or V(9010-9050).
    type: list
    elements: str
    aliases:
      - exposed
      - expose
  force_kill:
    description:
      - Kill the container instead of stopping it when it must end.
    type: bool
    default: false
    aliases:
      - forcekill
  groups:
    description:
      - More groups of the process, by name or number.
    type: list
    elements: str
    aliases:
      - group_add
  health_on_failure:
    description:
      - What the engine does when the container becomes unhealthy - nothing with V(none), which is the rule; V(kill) it,
        upon which O(restart_policy) decides; V(restart) it, whatever the policy; or V(stop) it until somebody or a boot
        of the host starts it.
    type: str
    choices:
      - none
      - kill
      - restart
      - stop
    aliases:
      - healthcheck_failure_action
  healthcheck:
    description:
      - A command that is run in the container again and again to find out whether it is healthy. What is not given
        comes from the image, and else is the default of docker.
      - Times are texts such as V(1m30s), with the units V(h), V(m), V(s), V(ms) and V(us).
    type: dict
    suboptions:
      interval:
        description:
          - Time from the end of a check to the next one, and from the start to the first; V(30s) by default.
        type: str
      retries:
        description:
          - How many failures in a row make the container unhealthy; 3 by default.
        type: int
      start_interval:
        description:
          - In place of O(healthcheck.interval) during O(healthcheck.start_period), until a check has succeeded;
            V(5s) by default.
        type: str
      start_period:
        description:
          - Time that the container has to start. Failures in it do not count, until a check has succeeded.
        type: str
      test:
        description:
          - The command. A text is run by the shell of the image; a list begins with V(CMD) or V(CMD-SHELL).
          - V([NONE]) switches the check of the image off.
        type: raw
      test_cli_compatible:
        description:
          - Without O(healthcheck.test), V(true) keeps the test of the image, as the command line does; V(false)
            switches the check off.
        type: bool
        default: false
      timeout:
        description:
          - Time after which a check is killed and has failed; V(30s) by default.
        type: str
  healthy_wait_timeout:
    description:
      - Seconds that O(state=healthy) waits at most; 0 or less waits for ever.
    type: float
    default: 300
  hostname:
    description:
      - The container's host name.
    type: str
  image:
    description:
      - Name of the image as V(repository[:tag][@digest]), or an image id as V(sha256:...). Without a tag, V(latest).
      - Needed to make a container; an existing one may be started, stopped or compared without it.
    type: str
  image_name_mismatch:
    description:
      - What to do when the container was made from the same image under another name - make it anew, or ignore that.
    type: str
    default: recreate
    choices:
      - recreate
      - ignore
  init:
    description:
      - Run a small init as process 1, which forwards signals and reaps orphans.
    type: bool
  interactive:
    description:
      - Keep standard input open.
    type: bool
  ipc_mode:
    description:
      - V(private), V(host), V(none), V(shareable) or V(container:name).
    type: str
    aliases:
      - ipc
  keep_volumes:
    description:
      - Keep the container's anonymous volumes when it is removed.
    type: bool
    default: true
  kill_signal:
    description:
      - The signal for O(force_kill=true), when it is not V(KILL). A container that outlives another signal is stopped
        as usual.
    type: str
  labels:
    description:
      - Labels. Values must be strings.
    type: dict
    aliases:
      - label
  log_driver:
    description:
      - Where output goes. V(json-file) and V(k8s-file) write files beside the container, V(journald) to systemd's
        journal, V(none) nowhere.
    type: str
    choices:
      - json-file
      - k8s-file
      - journald
      - none
  log_options:
    description:
      - Options of the log driver. The drivers that write files take V(max-size), V(max-file) and V(compress);
        V(json-file) and V(journald) take V(labels), V(env) and V(tag).
    type: dict
    aliases:
      - log_opt
  mac_address:
    description:
      - The MAC address of the container's interface.
    type: str
  memory:
    description:
      - Limit of memory. A number of bytes, or a number with a unit - B, K, M, G, T or P, powers of 1024 - as in
        V(64M).
    type: str
  memory_reservation:
    description:
      - Soft limit of memory. A number of bytes, or a number with a unit - B, K, M, G, T or P, powers of 1024 - as in
        V(64M).
    type: str
  memory_swap:
    description:
      - Limit of memory and swap together; V(unlimited) or V(-1) for no limit. Twice O(memory) by default.
    type: str
  memory_swappiness:
    description:
      - The kernel's swappiness for the container, 0 to 100. Only where cgroups v1 rule memory.
    type: int
  mounts:
    description:
      - Mounts, in the long form.
    type: list
    elements: dict
    aliases:
      - mount
    suboptions:
      no_copy:
        description:
          - Do not copy what the image has at the target into a new V(volume).
        type: bool
      propagation:
        description:
          - Propagation of a V(bind) mount.
        type: str
        choices:
          - private
          - rprivate
          - shared
          - rshared
          - slave
          - rslave
      read_only:
        description:
          - Whether the mount is read-only.
        type: bool
      source:
        description:
          - Path on the host, or name of the volume; none for V(tmpfs).
        type: str
      target:
        description:
          - Path inside the container.
        type: str
        required: true
      tmpfs_mode:
        description:
          - Mode of a V(tmpfs), as an octal text such as V(1777).
        type: str
      tmpfs_size:
        description:
          - Size of a V(tmpfs). A number of bytes, or a number with a unit - B, K, M, G, T or P, powers of 1024 - as
            in V(64M).
        type: str
      type:
        description:
          - The kind of mount.
        type: str
        default: volume
        choices:
          - bind
          - tmpfs
          - volume
  name:
    description:
      - Name of the container. An id, or the beginning of one, names a container that exists.
    type: str
    required: true
  network_mode:
    description:
      - V(bridge) (or V(default)), V(host), V(none), or V(container:name) for the network of another container.
    type: str
    aliases:
      - network
      - net
  oom_killer:
    description:
      - Whether the kernel may kill processes of the container when memory runs out. Only where cgroups v1 rule
        memory.
    type: bool
  oom_score_adj:
    description:
      - How likely the kernel chooses the process when memory runs out, -1000 to 1000.
    type: int
  output_logs:
    description:
      - With O(detach=false), also return what the container wrote as RV(output), where callbacks show it.
    type: bool
    default: false
  pid_mode:
    description:
      - V(host), or V(container:name), to share process ids.
    type: str
    aliases:
      - pid
  pids_limit:
    description:
      - How many processes and threads may exist at a time; V(-1) or V(0) for no limit.
    type: int
  platform:
    description:
      - Platform of an image that must be pulled, as V(os[/architecture[/variant]]).
    type: str
  privileged:
    description:
      - Take away nearly all isolation from the host. Whoever is root in such a container is root on the host.
    type: bool
  publish_all_ports:
    description:
      - Publish every exposed port on a free port of the host.
    type: bool
    aliases:
      - publish_all
  published_ports:
    description:
      - Ports to publish on the host, as V(container), V(host:container), V(address:host:container) or
        V(address::container), with ranges as V(9000-9010:9000-9010), and V(/udp) or V(/sctp) behind.
      - IPv6 addresses are put in brackets. Put the text in quotes. Published ports are exposed, too.
    type: list
    elements: str
    aliases:
      - ports
      - publish
      - published
  pull:
    description:
      - V(missing) or V(false) - pull the image if it is not on the host.
      - V(always) or V(true) - ask the registry each time; the container is made anew if the image became another.
      - V(never) - fail if the image is not on the host.
      - An image that is named by its id is never pulled.
    type: raw
    default: missing
  pull_check_mode_behavior:
    description:
      - What check mode says for O(pull=always), since it does not pull.
      - V(image_not_present) - a change only if the image is not on the host.
      - V(always) - always a change.
    type: str
    default: image_not_present
    choices:
      - image_not_present
      - always
  read_only:
    description:
      - Make the container's root file system read-only.
    type: bool
  recreate:
    description:
      - Remove and make the container anew, whether or not anything differs.
    type: bool
    default: false
  restart:
    description:
      - Restart a container that runs already. It is not restarted in addition to being started or made anew.
    type: bool
    default: false
    aliases:
      - force_restart
  restart_policy:
    description:
      - When the engine starts the container again - V(no), V(on-failure), V(always) or V(unless-stopped). Put V(no)
        in quotes.
    type: str
    choices:
      - "no"
      - on-failure
      - always
      - unless-stopped
  restart_retries:
    description:
      - How many times V(on-failure) tries; 0 is no limit.
    type: int
  security_opts:
    description:
      - Security options, such as V(no-new-privileges) or V(seccomp=unconfined).
    type: list
    elements: str
    aliases:
      - security_opt
  shm_size:
    description:
      - Size of C(/dev/shm), 64M by default. A number of bytes, or a number with a unit - B, K, M, G, T or P, powers
        of 1024 - as in V(64M).
    type: str
  state:
    description:
      - V(absent) - a container of that name does not exist; one that runs is stopped first.
      - V(healthy) - as V(started), and then the task waits until the health check of the container succeeds, at most
        O(healthy_wait_timeout). A container without a health check counts as healthy. The task fails at once when the
        container ends and is not started again.
      - V(present) - it exists with the configuration that the task gives. It is neither started nor stopped, but if
        it must be made anew, it is not running afterwards.
      - V(started) - it exists and runs.
      - V(stopped) - it exists and does not run.
    type: str
    default: started
    choices:
      - absent
      - healthy
      - present
      - started
      - stopped
  stop_signal:
    description:
      - The signal that asks the container to stop, such as V(SIGTERM).
    type: str
  stop_timeout:
    description:
      - Seconds to wait for a stopping container before it is killed.
    type: int
  sysctls:
    description:
      - Kernel parameters of the container's namespaces.
    type: dict
    aliases:
      - sysctl
  tmpfs:
    description:
      - Paths for temporary file systems in memory, as V(path) or V(path:options).
    type: list
    elements: str
  tty:
    description:
      - Give the process a terminal.
    type: bool
  ulimits:
    description:
      - Limits as V(name:soft[:hard]), such as V(nofile:1024:2048).
    type: list
    elements: str
    aliases:
      - ulimit
  user:
    description:
      - User, and optionally group, as V(name), V(uid), V(name:group) or V(uid:gid), looked up inside the image.
    type: str
  uts:
    description:
      - V(host) to share the host name.
    type: str
  volumes:
    description:
      - Volumes and bind mounts, as V(target), V(volume:target) or V(/path/on/host:target), and V(:ro), V(:rw) or
        propagation flags behind, separated by commas.
      - A path that begins with V(.) or V(~) is expanded on the target.
    type: list
    elements: str
    aliases:
      - volume
  working_dir:
    description:
      - The directory in which the command starts.
    type: str
    aliases:
      - workdir
notes:
  - Making a container anew uses only the options of the task. What an earlier task gave and this one does not is
    lost, and so is what was written to the container outside of volumes.
seealso:
  - module: vitrine.engine.container_image
  - module: vitrine.engine.container_info
  - module: vitrine.engine.container_commit
"""

EXAMPLES = r"""
---
- name: Run memcached with limits
  vitrine.engine.container:
    name: cache
    image: memcached:latest
    memory: 64M
    cpus: 0.5
    pids_limit: 64
    published_ports:
      - "11211:11211"
    restart_policy: unless-stopped

- name: Run a command to its end and look at its output
  vitrine.engine.container:
    name: report
    image: debian:bookworm
    command: ["ls", "-l", "/srv"]
    volumes:
      - /srv:/srv:ro
    detach: false
    cleanup: true
  register: report

- name: Go on when the database answers
  vitrine.engine.container:
    name: database
    image: postgres:16
    env:
      POSTGRES_HOST_AUTH_METHOD: trust
    healthcheck:
      test: pg_isready --username postgres
      interval: 10s
      start_period: 1m
      start_interval: 500ms
    state: healthy
    healthy_wait_timeout: 120

- name: Take an environment variable away
  vitrine.engine.container:
    name: cache
    image: memcached:latest
    env:
      VERBOSE: "1"
    comparisons:
      env: strict

- name: Remove a container
  vitrine.engine.container:
    name: cache
    state: absent
"""

RETURN = r"""
---
container:
  description:
    - The container, in the shape of C(docker inspect).
    - With O(detach=false), RV(container.Output) holds what it wrote.
  returned: success, unless O(state=absent) or the container is yet to be made
  type: dict
  sample:
    Id: 6f5ac5b7f5d4cbb42e0dd2d4c9c9a8f2c0a2c5b1f7a5c4b7ae2a5bb0d7c1e9f3
    Name: /cache
    State:
      Status: running
      Running: true
      Pid: 4711
    NetworkSettings:
      IPAddress: 10.88.0.2
  contains:
    Output:
      description: What the container wrote, on both streams.
      returned: O(detach=false)
      type: str
      sample: total 0
actions:
  description:
    - What was done, or in check mode would be done, in order.
  returned: always
  type: list
  elements: dict
  sample:
    - created: Created container
      create_parameters:
        image: memcached:latest
        name: cache
    - started: cache
status:
  description: The exit status of the container's command.
  returned: O(detach=false)
  type: int
  sample: 0
output:
  description: What the container wrote.
  returned: O(detach=false) and O(output_logs=true)
  type: str
  sample: total 0
error_kind:
  description: The kind of failure, for programs, such as V(PortInUse) or V(ImageNotFound).
  returned: failure
  type: str
  sample: PortInUse
"""

from ansible_collections.vitrine.engine.plugins.module_utils._ansible.module import run_module  # noqa: E402


def main() -> None:
    """Hand over: the engine answers, the same both ways to a target."""
    run_module("container")


if __name__ == "__main__":
    main()
