//! Urgent data.

rows! {
    ESRCH: "set_oob_owner"
        => "there is no such process, or no such process group: a thread's id is none, nor is the negative id of a \
            process that leads no group."
        => "Give getpid(), or the negative id of a group that has members: -getpgrp().";
    ESRCH: "set_oob_owner_thread"
        => "there is no such thread."
        => "Give gettid() of a thread that runs, or 0 for the calling one.";
    EINVAL: "set_oob_owner"
        => "owner is INT_MIN, which is no group's negative id."
        => "Give a process id, a group's negative id, or 0 for nobody.";
    EINVAL: "set_oob_owner_thread"
        => "tid is negative."
        => "Give gettid() of a thread, or 0 for the calling one; castio_set_oob_owner takes groups.";
    EINVAL: "send_oob"
        => "len is 0 or over SSIZE_MAX."
        => "Send at least one byte: the last one is the urgent one.";
    EINVAL: "recv_oob"
        => "no urgent byte waits: none came, it was taken already, or it stays in the stream."
        => "Call castio_wait_oob first; with castio_set_oob_inline on, recv() takes it where castio_recv_to_mark \
            stops.";
    EINVAL: "recv_to_mark"
        => "len is 0 or over SSIZE_MAX."
        => "Give room for one byte at least; castio_at_mark looks without reading.";
    EAGAIN: "send_oob"
        => "timeout_ms is 0 and there is no room for the rest; *done bytes are out, without a mark."
        => "Wait by poll() for POLLOUT and send the rest by castio_send_oob, or give the call time.";
    EAGAIN: "recv_oob"
        => "the urgent byte is announced, but it isn't here yet."
        => "Read the ordinary data in front of it with castio_recv_to_mark, which makes room for it, and ask again.";
    EAGAIN: "recv_to_mark"
        => "timeout_ms is 0 and nothing waits in front of a mark."
        => "Wait by poll() for POLLIN and POLLPRI, or give the call time.";
    EAGAIN: "wait_oob"
        => "timeout_ms is 0 and there is no urgent byte."
        => "Wait by poll() for POLLPRI, or give the call time.";
    ETIMEDOUT: "send_oob"
        => "the time passed before all was out; *done bytes are, without a mark."
        => "Send the rest by castio_send_oob, or close the connection.";
    ETIMEDOUT: "recv_to_mark"
        => "the time passed, and nothing came in front of a mark."
        => "Call it again, or close the connection.";
    ETIMEDOUT: "wait_oob"
        => "the time passed, and no urgent byte came."
        => "Call it again with more time, or do without.";
    EOPNOTSUPP: "send_oob"
        => "the socket's protocol has no urgent data: it isn't a stream, or it is MPTCP, vsock or TLS."
        => "Use TCP, or a UNIX stream socket on Linux 5.15 or later.";
    EOPNOTSUPP: "recv_oob at_mark recv_to_mark wait_oob set_oob_inline get_oob_inline"
        => "the socket's protocol has no urgent data: it isn't a stream, or it is MPTCP, vsock or TLS."
        => "Use TCP, or a UNIX stream socket on Linux 5.15 or later.";
    EPIPE: "wait_oob"
        => "the peer has closed its side, so that no urgent byte can come any more."
        => "Read what is left until recv() returns 0, and close the descriptor.";
}
