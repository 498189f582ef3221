;; The module `wasi_snapshot_preview1` for plugins that are core modules: WASI preview 1 on top of the contract's interface
;; `host`. Clocks, randomness and output are the host's. There are no files, directories, sockets, arguments or environment
;; variables. Nothing waits.
;;
;; `wit-component` links this module with the plugin's module. They share the plugin's memory: this module has no memory, no data
;; and no stack of its own, so it never disturbs the plugin's. A function that a plugin doesn't import is removed.
;;
;; The results are the error numbers of WASI: 0 success, 8 badf (no such descriptor), 28 inval, 52 nosys (no such function),
;; 58 notsup, 70 spipe (a stream has no position).
(module
  (import "env" "memory" (memory 0))
  (import "bennu:channel/host@0.1.0" "now" (func $now (result i64)))
  (import "bennu:channel/host@0.1.0" "random" (func $random (result i64)))
  (import "bennu:channel/host@0.1.0" "print" (func $print (param i32 i32 i32)))
  (import "bennu:channel/host@0.1.0" "exit" (func $exit (param i32)))
  (import "bennu:preview1/absent@0.1.0" "path-create-directory" (func $tell_path_create_directory))
  (import "bennu:preview1/absent@0.1.0" "path-filestat-get" (func $tell_path_filestat_get))
  (import "bennu:preview1/absent@0.1.0" "path-filestat-set-times" (func $tell_path_filestat_set_times))
  (import "bennu:preview1/absent@0.1.0" "path-link" (func $tell_path_link))
  (import "bennu:preview1/absent@0.1.0" "path-open" (func $tell_path_open))
  (import "bennu:preview1/absent@0.1.0" "path-readlink" (func $tell_path_readlink))
  (import "bennu:preview1/absent@0.1.0" "path-remove-directory" (func $tell_path_remove_directory))
  (import "bennu:preview1/absent@0.1.0" "path-rename" (func $tell_path_rename))
  (import "bennu:preview1/absent@0.1.0" "path-symlink" (func $tell_path_symlink))
  (import "bennu:preview1/absent@0.1.0" "path-unlink-file" (func $tell_path_unlink_file))
  (import "bennu:preview1/absent@0.1.0" "sock-accept" (func $tell_sock_accept))
  (import "bennu:preview1/absent@0.1.0" "sock-recv" (func $tell_sock_recv))
  (import "bennu:preview1/absent@0.1.0" "sock-send" (func $tell_sock_send))
  (import "bennu:preview1/absent@0.1.0" "sock-shutdown" (func $tell_sock_shutdown))

  ;; While a component allocates memory for the arguments or the result of a call, it must not call an import. But Go's collector
  ;; reads the clock while it allocates. So Go's bindings pause the clock: until it continues, the last known time is returned.
  (global $paused (mut i32) (i32.const 0))
  ;; The last known time in nanoseconds. It isn't 0, which some programs take for a broken clock.
  (global $time (mut i64) (i64.const 1000000))

  ;; Clocks and randomness

  (func $adapter_monotonic_clock_set_paused (export "adapter_monotonic_clock_set_paused") (param $paused i32)
    (global.set $paused (local.get $paused)))

  ;; The wall clock and the monotonic clock are both the host's `now`. The monotonic clock never goes back. The clocks of CPU time
  ;; (2 and 3) don't exist.
  (func $clock_time_get (export "clock_time_get") (param $clock i32) (param $precision i64) (param $to i32) (result i32)
    (local $now i64)
    (if (i32.gt_u (local.get $clock) (i32.const 1)) (then (return (i32.const 28))))
    (if (i32.eqz (global.get $paused))
      (then
        (local.set $now (i64.mul (call $now) (i64.const 1000000)))
        (if (i32.or (i32.eqz (local.get $clock)) (i64.gt_u (local.get $now) (global.get $time)))
          (then (global.set $time (local.get $now))))))
    (i64.store (local.get $to) (global.get $time))
    (i32.const 0))

  (func $clock_res_get (export "clock_res_get") (param $clock i32) (param $to i32) (result i32)
    (if (i32.gt_u (local.get $clock) (i32.const 1)) (then (return (i32.const 28))))
    (i64.store (local.get $to) (i64.const 1000000))
    (i32.const 0))

  (func $random_get (export "random_get") (param $to i32) (param $size i32) (result i32)
    (local $bits i64)
    (local $left i32)
    (block $done
      (loop $more
        (br_if $done (i32.eqz (local.get $size)))
        (if (i32.eqz (local.get $left))
          (then (local.set $bits (call $random)) (local.set $left (i32.const 8))))
        (i64.store8 (local.get $to) (local.get $bits))
        (local.set $bits (i64.shr_u (local.get $bits) (i64.const 8)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (local.set $to (i32.add (local.get $to) (i32.const 1)))
        (local.set $size (i32.sub (local.get $size) (i32.const 1)))
        (br $more)))
    (i32.const 0))

  ;; A sleep ends at once, because nothing in a call may wait: each event is reported as if it had occurred. A subscription has 48
  ;; bytes, with the user's data at 0 and its type at 8. An event has 32 bytes: the same data at 0, an error number at 8, the type
  ;; at 10, and at 16 the number of available bytes.
  (func $poll_oneoff (export "poll_oneoff") (param $in i32) (param $out i32) (param $count i32) (param $events i32) (result i32)
    (local $left i32)
    (if (i32.eqz (local.get $count)) (then (return (i32.const 28))))
    (local.set $left (local.get $count))
    (loop $more
      (i64.store (local.get $out) (i64.load (local.get $in)))
      (i64.store offset=8 (local.get $out) (i64.const 0))
      (i32.store8 offset=10 (local.get $out) (i32.load8_u offset=8 (local.get $in)))
      (i64.store offset=16 (local.get $out) (i64.const 0))
      (i64.store offset=24 (local.get $out) (i64.const 0))
      (local.set $in (i32.add (local.get $in) (i32.const 48)))
      (local.set $out (i32.add (local.get $out) (i32.const 32)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $more (local.get $left)))
    (i32.store (local.get $events) (local.get $count))
    (i32.const 0))

  (func $sched_yield (export "sched_yield") (result i32) (i32.const 0))

  ;; Standard input, output and error: the descriptors 0, 1 and 2

  (func $is_stream (param $fd i32) (result i32) (i32.lt_u (local.get $fd) (i32.const 3)))

  ;; The result of a function that does nothing with a stream, and of which there is nothing else.
  (func $success_of_stream (param $fd i32) (result i32)
    (select (i32.const 0) (i32.const 8) (call $is_stream (local.get $fd))))

  ;; The result of a function that needs a position in a file.
  (func $no_position (param $fd i32) (result i32)
    (select (i32.const 70) (i32.const 8) (call $is_stream (local.get $fd))))

  (func $fd_write (export "fd_write") (param $fd i32) (param $pieces i32) (param $count i32) (param $written i32) (result i32)
    (local $sum i32)
    (local $size i32)
    (if (i32.and (i32.ne (local.get $fd) (i32.const 1)) (i32.ne (local.get $fd) (i32.const 2)))
      (then (return (i32.const 8))))
    (block $done
      (loop $more
        (br_if $done (i32.eqz (local.get $count)))
        (local.set $size (i32.load offset=4 (local.get $pieces)))
        (if (local.get $size)
          (then
            ;; The cases of `standard-stream`: 0 is the output, 1 the error.
            (call $print
              (i32.sub (local.get $fd) (i32.const 1))
              (i32.load (local.get $pieces))
              (local.get $size))))
        (local.set $sum (i32.add (local.get $sum) (local.get $size)))
        (local.set $pieces (i32.add (local.get $pieces) (i32.const 8)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $more)))
    (i32.store (local.get $written) (local.get $sum))
    (i32.const 0))

  ;; The standard input is at its end.
  (func $fd_read (export "fd_read") (param $fd i32) (param $pieces i32) (param $count i32) (param $read i32) (result i32)
    (if (local.get $fd) (then (return (i32.const 8))))
    (i32.store (local.get $read) (i32.const 0))
    (i32.const 0))

  ;; A stream is a character device with the right to read (bit 1) or to write (bit 6), and without the right to seek. So a C library
  ;; takes it for a terminal, and writes each line at once.
  (func $fd_fdstat_get (export "fd_fdstat_get") (param $fd i32) (param $to i32) (result i32)
    (if (i32.eqz (call $is_stream (local.get $fd))) (then (return (i32.const 8))))
    (i64.store (local.get $to) (i64.const 2))
    (i64.store offset=8 (local.get $to) (select (i64.const 0x40) (i64.const 0x2) (local.get $fd)))
    (i64.store offset=16 (local.get $to) (i64.const 0))
    (i32.const 0))

  (func $fd_filestat_get (export "fd_filestat_get") (param $fd i32) (param $to i32) (result i32)
    (if (i32.eqz (call $is_stream (local.get $fd))) (then (return (i32.const 8))))
    (memory.fill (local.get $to) (i32.const 0) (i32.const 64))
    (i32.store8 offset=16 (local.get $to) (i32.const 2))
    (i32.const 0))

  (func $fd_fdstat_set_flags (export "fd_fdstat_set_flags") (param $fd i32) (param i32) (result i32)
    (call $success_of_stream (local.get $fd)))
  (func $fd_close (export "fd_close") (param $fd i32) (result i32) (call $success_of_stream (local.get $fd)))
  (func $fd_sync (export "fd_sync") (param $fd i32) (result i32) (call $success_of_stream (local.get $fd)))
  (func $fd_datasync (export "fd_datasync") (param $fd i32) (result i32) (call $success_of_stream (local.get $fd)))
  (func $fd_seek (export "fd_seek") (param $fd i32) (param i64 i32 i32) (result i32) (call $no_position (local.get $fd)))
  (func $fd_tell (export "fd_tell") (param $fd i32) (param i32) (result i32) (call $no_position (local.get $fd)))
  (func $fd_pread (export "fd_pread") (param $fd i32) (param i32 i32 i64 i32) (result i32) (call $no_position (local.get $fd)))
  (func $fd_pwrite (export "fd_pwrite") (param $fd i32) (param i32 i32 i64 i32) (result i32)
    (call $no_position (local.get $fd)))

  ;; Arguments and environment variables

  ;; There are none: their number and the size of their texts are 0.
  (func $none (param $count i32) (param $size i32) (result i32)
    (i32.store (local.get $count) (i32.const 0))
    (i32.store (local.get $size) (i32.const 0))
    (i32.const 0))
  (export "args_sizes_get" (func $none))
  (export "environ_sizes_get" (func $none))
  (func $args_get (export "args_get") (param i32 i32) (result i32) (i32.const 0))
  (func $environ_get (export "environ_get") (param i32 i32) (result i32) (i32.const 0))

  ;; Ends

  ;; The host ends the call, with the status in the fault. So `exit` never returns.
  (func $proc_exit (export "proc_exit") (param $status i32)
    (call $exit (local.get $status))
    unreachable)
  (func $proc_raise (export "proc_raise") (param i32) (result i32) (i32.const 52))

  ;; Files, directories and sockets: no descriptor of one exists. Programs look for directories at their start, so `fd_prestat_get` is
  ;; silent. The host is told of what needs a directory or a socket: the library of a language may hide the error, or not say why.

  (func $fd_prestat_get (export "fd_prestat_get") (param i32 i32) (result i32) (i32.const 8))
  (func $fd_prestat_dir_name (export "fd_prestat_dir_name") (param i32 i32 i32) (result i32) (i32.const 8))
  (func $fd_advise (export "fd_advise") (param i32 i64 i64 i32) (result i32) (i32.const 8))
  (func $fd_allocate (export "fd_allocate") (param i32 i64 i64) (result i32) (i32.const 8))
  (func $fd_fdstat_set_rights (export "fd_fdstat_set_rights") (param i32 i64 i64) (result i32) (i32.const 8))
  (func $fd_filestat_set_size (export "fd_filestat_set_size") (param i32 i64) (result i32) (i32.const 8))
  (func $fd_filestat_set_times (export "fd_filestat_set_times") (param i32 i64 i64 i32) (result i32) (i32.const 8))
  (func $fd_readdir (export "fd_readdir") (param i32 i32 i32 i64 i32) (result i32) (i32.const 8))
  (func $fd_renumber (export "fd_renumber") (param i32 i32) (result i32) (i32.const 58))
  (func $path_create_directory (export "path_create_directory") (param i32 i32 i32) (result i32)
    (call $tell_path_create_directory)
    (i32.const 8))
  (func $path_filestat_get (export "path_filestat_get") (param i32 i32 i32 i32 i32) (result i32)
    (call $tell_path_filestat_get)
    (i32.const 8))
  (func $path_filestat_set_times (export "path_filestat_set_times") (param i32 i32 i32 i32 i64 i64 i32) (result i32)
    (call $tell_path_filestat_set_times)
    (i32.const 8))
  (func $path_link (export "path_link") (param i32 i32 i32 i32 i32 i32 i32) (result i32)
    (call $tell_path_link)
    (i32.const 8))
  (func $path_open (export "path_open") (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)
    (call $tell_path_open)
    (i32.const 8))
  (func $path_readlink (export "path_readlink") (param i32 i32 i32 i32 i32 i32) (result i32)
    (call $tell_path_readlink)
    (i32.const 8))
  (func $path_remove_directory (export "path_remove_directory") (param i32 i32 i32) (result i32)
    (call $tell_path_remove_directory)
    (i32.const 8))
  (func $path_rename (export "path_rename") (param i32 i32 i32 i32 i32 i32) (result i32)
    (call $tell_path_rename)
    (i32.const 8))
  (func $path_symlink (export "path_symlink") (param i32 i32 i32 i32 i32) (result i32)
    (call $tell_path_symlink)
    (i32.const 8))
  (func $path_unlink_file (export "path_unlink_file") (param i32 i32 i32) (result i32)
    (call $tell_path_unlink_file)
    (i32.const 8))
  (func $sock_accept (export "sock_accept") (param i32 i32 i32) (result i32)
    (call $tell_sock_accept)
    (i32.const 8))
  (func $sock_recv (export "sock_recv") (param i32 i32 i32 i32 i32 i32) (result i32)
    (call $tell_sock_recv)
    (i32.const 8))
  (func $sock_send (export "sock_send") (param i32 i32 i32 i32 i32) (result i32)
    (call $tell_sock_send)
    (i32.const 8))
  (func $sock_shutdown (export "sock_shutdown") (param i32 i32) (result i32)
    (call $tell_sock_shutdown)
    (i32.const 8))
)
