//! What is the same for functions of all kinds: descriptors, connections, pointers, memory.

rows! {
    EBADF: "peek peek_all set_oob_owner get_oob_owner set_oob_owner_thread send_oob \
            recv_oob at_mark recv_to_mark wait_oob set_oob_inline get_oob_inline set_ttl get_ttl set_loop get_loop \
            set_multicast_interface set_multicast_interface_index get_multicast_interface set_multicast_all \
            get_multicast_all join_group[_addr] leave_group[_addr] join_source[_addr] leave_source[_addr] \
            block_source[_addr] unblock_source[_addr] set_source_filter[_addr] get_source_filter[_addr] \
            membership_open enable_broadcast get_broadcast send_broadcast send_limited_broadcast sender_open \
            receiver_open set_receive_buffer inspect inspect_socket diagnose_multicast[_addr] fdopen"
        => "fd isn't an open descriptor."
        => "Check what socket() or accept() returned, and look for a close() before this call or in another thread.";
    EBADF: "writev_all write_all send_nowait writev_nowait"
        => "fd isn't an open descriptor, or it is open for reading only."
        => "Open it with O_WRONLY or O_RDWR (of a pipe's two descriptors take [1]), and look for a close() that \
            came too early.";
    EBADF: "readv_all read_all recv_nowait readv_nowait peek_available peek_info"
        => "fd isn't an open descriptor, or it is open for writing only."
        => "Open it with O_RDONLY or O_RDWR (of a pipe's two descriptors take [0]), and look for a close() that \
            came too early.";
    EBADF: "send_datagrams send_to_many sender_wait receive_datagrams receive_copies"
        => "the socket that the handle works on has been closed."
        => "Keep it open as long as the handle: castio_sender_close or castio_receiver_close first, close() after.";

    EBUSY: "amt_fd amt_info amt_join[_addr] amt_leave[_addr] amt_process amt_receive amt_relay_fd \
            amt_relay_info amt_relay_json amt_relay_process amt_relay_run amt_relay_timeout_ms \
            amt_set_source_filter[_addr] amt_timeout_ms bridge_fd bridge_info bridge_open bridge_process \
            bridge_run bridge_timeout_ms membership_add[_addr] membership_events membership_fd membership_list \
            membership_process membership_receive membership_receive_fd membership_remove[_addr] \
            membership_sockets membership_timeout_ms membership_wait receive_copies receive_datagrams \
            send_datagrams send_to_many sender_token sender_wait subscription_fd subscription_info \
            subscription_process subscription_receive subscription_timeout_ms tunnel_fd tunnel_info \
            tunnel_receive tunnel_send"
        => "another call is in the handle, or in a bridge's tunnel: of another thread, or the one that this signal \
            handler interrupted. One that longjmp() left never ends."
        => "Let one thread at a time use a handle, or open one for each.";

    ENOTSOCK: "peek peek_all set_oob_owner get_oob_owner set_oob_owner_thread send_oob recv_oob at_mark recv_to_mark \
               wait_oob set_oob_inline get_oob_inline set_ttl get_ttl set_loop get_loop set_multicast_interface \
               set_multicast_interface_index get_multicast_interface set_multicast_all get_multicast_all \
               join_group[_addr] leave_group[_addr] join_source[_addr] leave_source[_addr] block_source[_addr] \
               unblock_source[_addr] set_source_filter[_addr] get_source_filter[_addr] membership_open \
               enable_broadcast get_broadcast send_broadcast send_limited_broadcast sender_open receiver_open \
               set_receive_buffer diagnose_multicast[_addr] fdopen"
        => "fd is a file, a pipe or a terminal, not a socket."
        => "Give a descriptor that socket(), socketpair() or accept() returned.";

    ENOTCONN: "writev_all write_all readv_all read_all send_nowait writev_nowait recv_nowait readv_nowait peek_available peek peek_all \
               peek_info send_oob recv_oob recv_to_mark wait_oob receive_datagrams receive_copies"
        => "the socket isn't connected, or it is one that listens."
        => "connect() it, or use the descriptor that accept() returned.";
    EPIPE: "writev_all write_all send_nowait writev_nowait send_oob"
        => "nobody can read it: the other end is closed, the socket isn't connected, or this side was shut down for \
            sending."
        => "Close the descriptor and connect anew. There was no SIGPIPE.";
    ECONNRESET: "writev_all write_all send_nowait writev_nowait readv_all read_all recv_nowait readv_nowait send_oob \
                 recv_oob recv_to_mark wait_oob"
        => "the peer has broken the connection off: it closed with our data unread, or it crashed."
        => "Close the descriptor and connect anew; what was sent last may not have been read.";

    EFAULT: "writev_all readv_all writev_nowait readv_nowait"
        => "iov is NULL or misaligned, or a buffer isn't memory that may be used so."
        => "Let iov point to iovcnt struct iovec, and each iov_base to iov_len bytes that stay valid during the call.";
    EFAULT: "write_all read_all send_nowait recv_nowait peek peek_all send_oob send_broadcast send_limited_broadcast"
        => "buf is NULL and len isn't 0, or some of the len bytes aren't memory that may be used so."
        => "Let buf point to len bytes that stay valid during the call.";
    EFAULT: "recv_to_mark"
        => "at_mark or buf is NULL, or some of the len bytes can't be written."
        => "Give the address of an int for at_mark, and let buf point to len bytes.";
    EFAULT: "strerror explain inspect"
        => "buf is NULL and len isn't 0."
        => "Give a buffer and its size, or NULL and 0 to learn the length that it needs.";
    EFAULT: "set_receive_buffer"
        => "advice is NULL and len isn't 0."
        => "Give a buffer and its size, or NULL and 0 to do without advice.";
    EFAULT: "peek_info get_oob_owner fdopen sender_open receiver_open membership_open inspect_socket"
        => "a pointer to where a result goes is NULL."
        => "Give the address of a variable for it.";
    EFAULT: "broadcast_address directed_broadcast interface_index"
        => "the text or the pointer to the result is NULL."
        => "Give both; a choice of the kernel's, as in castio_join_group, doesn't exist here.";
    EFAULT: "join_group[_addr] leave_group[_addr] open_sender[_addr]"
        => "group is NULL."
        => "Give the group's address; only the interface may be NULL.";
    EFAULT: "join_source[_addr] leave_source[_addr] block_source[_addr] unblock_source[_addr]"
        => "group or source is NULL."
        => "Give both addresses; only the interface may be NULL.";
    EFAULT: "open_receiver[_addr]"
        => "group is NULL."
        => "Give the group's address; only the source and the interface may be NULL.";
    EFAULT: "set_source_filter[_addr]"
        => "group is NULL, or sources is (or one of them) though count isn't 0."
        => "Give the group's address, and as many sources as count says.";
    EFAULT: "get_source_filter[_addr]"
        => "group or mode is NULL, or sources is though capacity isn't 0."
        => "Give the group and the address of an int; NULL with capacity 0 asks for the number of sources alone.";
    EFAULT: "iov_length iov_advance"
        => "iov is NULL or misaligned, and iovcnt isn't 0."
        => "Let iov point to iovcnt struct iovec.";
    EFAULT: "list_interfaces"
        => "out is NULL or misaligned, and capacity isn't 0."
        => "Give an array, or NULL with capacity 0 to ask for the number alone.";

    EMFILE: "open_receiver[_addr] open_sender[_addr] amt_open subscribe[_addr] subscription_process \
             amt_find_relays subscription_receive membership_open membership_add[_addr] membership_process \
             membership_wait membership_receive membership_receive_fd broadcast_address list_interfaces \
             send_broadcast send_limited_broadcast set_multicast_interface \
             set_multicast_interface_index join_group[_addr] leave_group[_addr] join_source[_addr] leave_source[_addr] \
             block_source[_addr] unblock_source[_addr] set_source_filter[_addr] get_source_filter[_addr] \
             interface_index diagnose_multicast[_addr]"
        => "this process has as many descriptors as it may."
        => "Close those that are done with, or raise the limit: ulimit -n, or setrlimit(RLIMIT_NOFILE).";
    ENFILE: "open_receiver[_addr] open_sender[_addr] amt_open subscribe[_addr] subscription_process \
             amt_find_relays subscription_receive membership_open membership_add[_addr] membership_process \
             membership_wait membership_receive membership_receive_fd broadcast_address list_interfaces \
             send_broadcast send_limited_broadcast set_multicast_interface \
             set_multicast_interface_index join_group[_addr] leave_group[_addr] join_source[_addr] leave_source[_addr] \
             block_source[_addr] unblock_source[_addr] set_source_filter[_addr] get_source_filter[_addr] \
             interface_index diagnose_multicast[_addr]"
        => "the whole system has as many open files as it may."
        => "Compare /proc/sys/fs/file-nr with the limit, and raise it: sysctl -w fs.file-max=NUMBER.";
    ENOBUFS: "list_interfaces"
        => "the kernel has no memory for its answer."
        => "Call it again.";
    ENOSPC: "amt_open amt_relay_open bridge_open subscribe[_addr] tunnel_open"
        => "this user has as many epoll watches as fs.epoll.max_user_watches allows."
        => "Close handles that are done with, or raise it: sysctl -w fs.epoll.max_user_watches=NUMBER.";
    ENOMEM: "membership_open membership_receive_fd broadcast_address list_interfaces interface_index \
             diagnose_multicast[_addr] fdopen"
        => "there isn't enough memory."
        => "Free some, or raise the limit that the process runs under: ulimit -v, or its control group's memory.max.";

    EINVAL: "peek_info inspect_socket"
        => "struct_size is less than the struct has."
        => "Set info->struct_size to sizeof *info before the call.";
    EINVAL: "explain"
        => "castio has no function of that name."
        => "Give a name from castio.h, with or without castio_, or NULL for what the number means in general.";
}
