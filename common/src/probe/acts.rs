//! The list of acts, each with what has to become of it in each fence.
//!
//! Data only. A row holds for a broker of root and for one of an ordinary user, for Linux 5.13 and
//! later; where a fence grants an act because its process lives by it, the row says so and nothing is
//! tried.

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::{Expected, Fence, Found, Props, Tried};
use super::{files, identity, memory, processes, sockets, system};

const fn refused(errno: Errno) -> Found {
    Found::Refused(errno as i32)
}

const SIGSYS: Found = Found::Killed(libc::SIGSYS);

/// Killed by the filter.
const K: Option<Expected> = Expected::exactly(&[SIGSYS]);
/// Killed by the filter, or because the kernel has no i386 calls at all.
const K386: Option<Expected> = Expected::exactly(&[SIGSYS, Found::Killed(libc::SIGSEGV)]);
/// Refused by the filter, or by the kernel's rules about identities.
const P: Option<Expected> = Expected::exactly(&[refused(Errno::EPERM)]);
/// Not there, says the filter.
const S: Option<Expected> = Expected::exactly(&[refused(Errno::ENOSYS)]);
/// Refused by Landlock since its first version.
const A: Option<Expected> = Expected::since(&[refused(Errno::EACCES)], 1);
/// Refused by Landlock since it knows of signals (version 6, Linux 6.12).
const L: Option<Expected> = Expected::since(&[refused(Errno::EPERM)], 6);
/// Refused by the filter on kernels that know files in memory that cannot be executed (Linux 6.3; this
/// is the version of Linux 6.7).
const N: Option<Expected> = Expected::since(&[refused(Errno::EPERM)], 4);
/// The descriptor is not one for writing.
const B: Option<Expected> = Expected::exactly(&[refused(Errno::EBADF)]);
/// The same, as ftruncate(2) says it; or an argument that the kernel takes from nobody.
const I: Option<Expected> = Expected::exactly(&[refused(Errno::EINVAL)]);
/// Beyond a limit of the process.
const M: Option<Expected> = Expected::exactly(&[refused(Errno::ENOMEM)]);
/// Granted: the process does this as part of its work.
const G: Option<Expected> = None;

/// Rows: variant, name, what it is, and what becomes of it in the fence of a worker, opener,
/// dispatcher, broker.
macro_rules! acts {
    ($($group:ident { $($act:ident $name:literal $about:literal [$w:ident $o:ident $d:ident $b:ident])* })*) => {
        /// One thing that no process, or hardly one, of ours may do.
        #[allow(missing_docs)] // Each is described by [`Act::about`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Act { $($($act,)*)* }

        impl Act {
            /// All there are.
            pub const ALL: &[Self] = &[$($(Self::$act,)*)*];

            /// Its name on the command line and in reports.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $($(Self::$act => $name,)*)* }
            }

            /// What it is, in words.
            #[must_use]
            pub fn about(self) -> &'static str {
                match self { $($(Self::$act => $about,)*)* }
            }

            fn row(self) -> [Option<Expected>; 4] {
                match self { $($(Self::$act => [$w, $o, $d, $b],)*)* }
            }

            /// Tries it. Only in a process that ends then.
            ///
            /// # Errors
            /// Why it was refused; `EDOM` when it could not be tried at all.
            pub fn attempt(self, props: &mut Props) -> Tried {
                match self { $($(Self::$act)|* => $group::attempt(self, props),)* }
            }
        }
    };
}

#[rustfmt::skip]
acts! {
    files {
        Open          "open"              "open a file (the oldest call)"        [K P P G]
        OpenAt        "openat"            "open a file for reading"              [K G P G]
        OpenAt2       "openat2"           "open a file for reading, by openat2"  [K G P G]
        OpenWrite     "open-write"        "open a file for writing"              [K A P A]
        Create        "create"            "make a file"                          [K A P A]
        CreateUnnamed "create-unnamed"    "make a file without a name"           [K A P A]
        HandleOf      "name_to_handle_at" "learn a file's handle"                [K P P P]
        OpenHandle    "open_by_handle_at" "open a file by its handle"            [K P P P]
        Reopen        "reopen"            "reopen a passed file through /proc"   [K G P G]
        ReopenWrite   "reopen-write"      "reopen a passed file for writing"     [K A P A]
        Truncate      "truncate"          "cut a file"                           [K P P P]
        Unlink        "unlink"            "remove a file"                        [K P P A]
        Mkdir         "mkdir"             "make a directory"                     [K P P P]
        Mknod         "mknod"             "make a named pipe"                    [K P P P]
        Link          "link"              "link a file"                          [K P P P]
        Symlink       "symlink"           "make a symbolic link"                 [K P P P]
        Rename        "rename"            "rename a file"                        [K P P P]
        Chmod         "chmod"             "change the mode of a file"            [K P P P]
        Chown         "chown"             "change the owner of a file"           [K P P P]
        Touch         "touch"             "change the times of a file"           [K P P P]
        SetXattr      "setxattr"          "set an attribute of a file"           [K P P P]
        Read          "read"              "move the offset of a passed file"     [K G G G]
        Write         "write"             "write to a passed file"               [K B B B]
        Writev        "writev"            "write to a passed file, by writev"    [K B B B]
        Pwrite        "pwrite"            "write into a passed file"             [K P P B]
        Pwritev       "pwritev"           "write into a passed file, by pwritev" [K P P P]
        Ftruncate     "ftruncate"         "cut a passed file"                    [K P P I]
        Fallocate     "fallocate"         "reserve space in a passed file"       [K P P P]
        Fchmod        "fchmod"            "change the mode of a passed file"     [K P P P]
        Fchown        "fchown"            "change the owner of a passed file"    [K P P P]
        Futimens      "futimens"          "change the times of a passed file"    [K P P P]
        Fsetxattr     "fsetxattr"         "set an attribute of a passed file"    [K P P P]
        Flock         "flock"             "lock a passed file"                   [K P P G]
        Lease         "lease"             "take a lease on a passed file"        [K G G G]
        SetFlags      "set-flags"         "change the flags of a passed file"    [K G G G]
        Ioctl         "ioctl"             "ioctl on a passed file"               [K P P G]
        Dup           "dup"               "duplicate a descriptor"               [K P P G]
        DupFcntl      "dup-fcntl"         "duplicate a descriptor, by fcntl"     [K G G G]
        Sendfile      "sendfile"          "copy between descriptors, sendfile"   [K P P P]
        Splice        "splice"            "copy between descriptors, splice"     [K P P P]
        CopyRange     "copy_file_range"   "copy between files"                   [K P P P]
        Chdir         "chdir"             "change the working directory"         [K P P G]
        Chroot        "chroot"            "change the root directory"            [K P P P]
    }
    sockets {
        SocketUnix    "socket-unix"       "make a Unix socket"                   [K P P G]
        SocketInet    "socket-inet"       "make a TCP socket"                    [K P P P]
        SocketUdp6    "socket-udp6"       "make a UDP socket"                    [K P P P]
        SocketNetlink "socket-netlink"    "make a netlink socket"                [K P P P]
        SocketPacket  "socket-packet"     "make a socket for raw packets"        [K P P P]
        Socketpair    "socketpair"        "make a pair of sockets"               [K P P G]
        Connect       "connect"           "connect a socket"                     [K P P P]
        Bind          "bind"              "give a socket a name in a directory"  [K P P A]
        Listen        "listen"            "listen on a socket"                   [K P P G]
        Accept        "accept"            "accept a connection"                  [K P G G]
        SendOther     "send-other"        "send on another socket than its own"  [K G G G]
        WriteOther    "write-other"       "write to another socket"              [K G G G]
        ReceiveOther  "receive-other"     "receive from another socket"          [K G G G]
        SendRights    "send-rights"       "send a descriptor"                    [K G G G]
        SendMany      "sendmmsg"          "send many messages by one call"       [K P P P]
        SetSockopt    "setsockopt"        "set an option of a socket"            [K P P G]
        Shutdown      "shutdown"          "shut a socket down"                   [K P P G]
        Poll          "poll"              "wait for another descriptor"          [K G G G]
        Pipe          "pipe"              "make a pipe"                          [K P P G]
        Eventfd       "eventfd"           "make an event counter"                [K P P P]
        Epoll         "epoll"             "make an epoll descriptor"             [K P P P]
        Signalfd      "signalfd"          "make a descriptor for signals"        [K P P G]
        Timerfd       "timerfd"           "make a descriptor for a timer"        [K P P P]
        Inotify       "inotify"           "watch files, by inotify"              [K P P G]
        Fanotify      "fanotify"          "watch files, by fanotify"             [K P P P]
    }
    processes {
        Execve        "execve"            "execute /bin/sh"                      [K P P A]
        Execveat      "execveat"          "execute /bin/sh, by execveat"         [K P P A]
        Fork          "fork"              "fork (the oldest call)"               [K P P P]
        Vfork         "vfork"             "fork, by vfork"                       [K P P G]
        Clone         "clone"             "fork, by clone"                       [K P P G]
        CloneThread   "clone-thread"      "start a thread"                       [K P P G]
        CloneUser     "clone-namespace"   "fork into a new user namespace"       [K P P P]
        Clone3        "clone3"            "fork, by clone3"                      [K P P S]
        Unshare       "unshare"           "make a user namespace"                [K P P P]
        Setns         "setns"             "enter a namespace"                    [K P P P]
        Ptrace        "ptrace"            "trace another process"                [K P P P]
        ReadOther     "process_vm_readv"  "read another process's memory"        [K P P P]
        WriteVm       "process_vm_writev" "write to another process's memory"    [K P P P]
        Kcmp          "kcmp"              "compare with another process"         [K P P P]
        PidfdOpen     "pidfd_open"        "get hold of another process"          [K P P G]
        PidfdGetfd    "pidfd_getfd"       "take another process's descriptor"    [K P P P]
        PidfdSignal   "pidfd_send_signal" "signal a process that it holds"       [K P P G]
        MadviseOther  "process_madvise"   "give another process's memory back"   [K P P P]
        KillParent    "kill-parent"       "signal its parent"                    [K P P G]
        KillInit      "kill-init"         "signal process 1"                     [K P P G]
        TgkillParent  "tgkill-parent"     "signal its parent, by tgkill"         [K L L G]
        TgkillOwn     "tgkill-own"        "signal itself other than to abort"    [K G G G]
        Tkill         "tkill"             "signal its parent, by tkill"          [K P P P]
        Sigqueue      "rt_sigqueueinfo"   "signal its parent, with a value"      [K P P P]
        Wait          "wait"              "wait for a child"                     [K P P G]
        Setsid        "setsid"            "become a session's leader"            [K P P P]
        Setpriority   "setpriority"       "change its priority"                  [K P P P]
        Affinity      "sched_setaffinity" "choose its processors"                [K P P P]
        Scheduler     "sched_setscheduler" "change its scheduling"               [K P P P]
        PrlimitOther  "prlimit-other"     "read another process's limits"        [K P P G]
        PrlimitRaise  "prlimit-raise"     "raise a limit"                        [K P P P]
        Setrlimit     "setrlimit"         "raise a limit, by setrlimit"          [K P P P]
    }
    memory {
        MapExec       "mmap-exec"         "map executable memory"                [K P P G]
        ProtectExec   "mprotect-exec"     "make memory executable"               [K P P G]
        PkeyProtect   "pkey_mprotect"     "make memory executable, with a key"   [K P P P]
        MapFile       "mmap-file"         "map a passed file"                    [K G G G]
        MapShared     "mmap-shared"       "map memory that no limit counts"      [K G G G]
        MapGrowing    "mmap-growsdown"    "map memory that grows uncounted"      [K G G G]
        MapLocked     "mmap-locked"       "map memory that is never swapped"     [K G G G]
        MapHuge       "mmap-hugetlb"      "map huge pages"                       [K G G G]
        MapTooMuch    "mmap-limit"        "map more memory than its limit"       [M G G G]
        MapAddresses  "mmap-addresses"    "map more addresses than its limit"    [M G G G]
        GrowTooMuch   "brk-limit"         "grow its data beyond its limit"       [M G G G]
        Memfd         "memfd_create"      "make a file in memory"                [K P P G]
        MemfdExec     "memfd-exec"        "execute a file in memory"             [K P P N]
        MemfdSecret   "memfd_secret"      "make secret memory"                   [K P P P]
        Mlock         "mlock"             "lock memory"                          [K P P P]
        Userfaultfd   "userfaultfd"       "handle page faults"                   [K P P P]
        Shmget        "shmget"            "find shared memory"                   [K P P P]
        Semget        "semget"            "find semaphores"                      [K P P P]
        Msgget        "msgget"            "find a message queue"                 [K P P P]
        MqOpen        "mq_open"           "open a POSIX message queue"           [K P P P]
    }
    identity {
        Setuid        "setuid"            "become uid 0, by setuid"              [K P P P]
        Setresuid     "setresuid"         "become uid 0"                         [K P P G]
        Setresgid     "setresgid"         "become gid 0"                         [K P P G]
        Setfsuid      "setfsuid"          "use files as uid 0"                   [K P P P]
        Setgroups     "setgroups"         "take other groups"                    [K P P P]
        Capset        "capset"            "take back a capability"               [K P P P]
        CapAmbient    "prctl-ambient"     "raise an ambient capability"          [K P P P]
        Keepcaps      "prctl-keepcaps"    "keep capabilities"                    [K P P G]
        Dumpable      "prctl-dumpable"    "let others look inside"               [K P P G]
        NoNewPrivs    "prctl-new-privs"   "unset no_new_privs"                   [K P P I]
        UnsetSeccomp  "prctl-seccomp"     "unset the filter"                     [K P P I]
        AddFilter     "seccomp"           "add a filter that allows everything"  [K P P G]
        Pdeathsig     "prctl-pdeathsig"   "outlive its parent"                   [K P P G]
        SetName       "prctl-name"        "change its name"                      [K P P G]
        Personality   "personality"       "change its personality"               [K P P P]
        Landlock      "landlock"          "make a Landlock rule set"             [K P P G]
        I386          "i386"              "a call by its i386 number"            [K386 K386 K386 K386]
        X32           "x32"               "a call by its x32 number"             [K P P P]
        ModifyLdt     "modify_ldt"        "make a segment of memory"             [K P P P]
        ArchPrctl     "arch_prctl"        "move the base of a segment"           [K P P G]
        Iopl          "iopl"              "use I/O ports"                        [K P P P]
    }
    system {
        Mount         "mount"             "mount"                                [K P P P]
        Umount        "umount"            "unmount"                              [K P P P]
        Fsopen        "fsopen"            "mount, the newer way"                 [K P P P]
        OpenTree      "open_tree"         "clone a mount"                        [K P P P]
        MoveMount     "move_mount"        "move a mount"                         [K P P P]
        MountSetattr  "mount_setattr"     "change a mount"                       [K P P P]
        PivotRoot     "pivot_root"        "exchange the root mount"              [K P P P]
        Bpf           "bpf"               "make a BPF map"                       [K P P P]
        IoUring       "io_uring_setup"    "make an io_uring"                     [K P P P]
        PerfEvent     "perf_event_open"   "count events of the processor"        [K P P P]
        Keyctl        "keyctl"            "look at its keyring"                  [K P P P]
        AddKey        "add_key"           "add a key"                            [K P P P]
        RequestKey    "request_key"       "ask for a key"                        [K P P P]
        InitModule    "init_module"       "load a kernel module"                 [K P P P]
        DeleteModule  "delete_module"     "unload a kernel module"               [K P P P]
        KexecLoad     "kexec_load"        "load another kernel"                  [K P P P]
        Reboot        "reboot"            "reboot"                               [K P P P]
        Swapon        "swapon"            "swap to a file"                       [K P P P]
        Acct          "acct"              "keep accounts in a file"              [K P P P]
        Quotactl      "quotactl"          "change quotas"                        [K P P P]
        Syslog        "syslog"            "read the kernel's log"                [K P P P]
        SetTime       "settimeofday"      "set the clock"                        [K P P P]
        ClockSettime  "clock_settime"     "set a clock"                          [K P P P]
        Adjtimex      "adjtimex"          "ask about the clock's drift"          [K P P P]
        Sethostname   "sethostname"       "change the host's name"               [K P P P]
        Setdomainname "setdomainname"     "change the domain's name"             [K P P P]
        TimerCreate   "timer_create"      "make a timer"                         [K P P P]
        Setitimer     "setitimer"         "set a timer"                          [K P P P]
        Membarrier    "membarrier"        "order memory of other threads"        [K P P P]
        Ioprio        "ioprio_set"        "change its I/O priority"              [K P P P]
    }
}

impl Act {
    /// The act of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|act| act.name() == name)
    }

    /// What has to become of it in a fence; none where it is granted, or unknown to the processor.
    #[must_use]
    pub fn expected(self, fence: Fence) -> Option<Expected> {
        if !self.exists() {
            return None;
        }
        let [worker, opener, dispatcher, broker] = self.row();
        match fence {
            Fence::Worker => worker,
            Fence::Opener | Fence::Reader => opener,
            Fence::Dispatcher => dispatcher,
            Fence::Broker => broker,
        }
    }

    /// Whether this processor has such a call.
    #[must_use]
    pub fn exists(self) -> bool {
        let x86 = matches!(
            self,
            Self::Open
                | Self::Fork
                | Self::Vfork
                | Self::CloneThread
                | Self::I386
                | Self::X32
                | Self::ModifyLdt
                | Self::ArchPrctl
                | Self::Iopl
        );
        cfg!(target_arch = "x86_64") || !x86
    }
}
