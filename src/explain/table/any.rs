//! What any function that makes a system call may fail with, whatever it does: the head of the header names
//! them. A row of the function's own goes before.

rows! {
    ENOMEM: "*"
        => "the kernel has no memory for it, or the process's limit or control group hasn't."
        => "Free some, or raise the limit that the process runs under: ulimit -v, or its control group's memory.max.";
    ENOBUFS: "*"
        => "the kernel has no room for what the function sends or asks."
        => "Call it again later. If that doesn't help, compare ss -m, sysctl net.core.optmem_max and the control \
            group's memory.max with what the program needs.";
    EPERM: "*"
        => "a sandbox (a container's seccomp profile), a security module or a BPF program forbids a system call that \
            the function makes."
        => "Run the program under strace to see which one, and allow it there.";
    EACCES: "*"
        => "a security module (SELinux, AppArmor, Landlock) forbids a system call that the function makes."
        => "Look for the denial: ausearch -m avc, or journalctl -k; and allow it in the program's profile.";
    ENOSYS: "*"
        => "this kernel, or the sandbox that the process runs in, hasn't a system call that the function makes."
        => "Run the program under strace to see which one; allow it in the sandbox's seccomp profile, or use a newer \
            kernel.";
}
