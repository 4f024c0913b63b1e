"""What can go wrong between workers and a sidecar, tested with real processes, signals, files and namespaces.

    statement                                                  | tests
    -----------------------------------------------------------+------------------------------------------------------
    two workers with pid 1 in two PID namespaces               | test_two_workers_with_pid_1_share_a_directory
    SIGKILL storm on workers and sidecar                       | test_storm_of_kills
    sidecar killed between writing, renaming and unlinking     | test_sidecar_killed_while_it_replaces_the_totals
                                                               | test_temporary_file_of_a_killed_sidecar_is_removed
    a second reader during a compaction sees no decrease       | test_second_reader_during_a_compaction
    full volume at start and later, no SIGBUS                  | test_volume_full_at_the_start
                                                               | test_volume_full_later
                                                               | test_full_directory_takes_a_living_pool_later
    read-only, missing, forbidden, EMFILE, no inodes           | test_read_only_volume
                                                               | test_missing_directory
                                                               | test_forbidden_directory
                                                               | test_directory_loses_its_permission
                                                               | test_no_descriptor_left
                                                               | test_volume_without_inodes
    ENOSPC while compacting: the reserve is used               | test_volume_full_while_compacting
    a volume full of dead workers' files empties itself        | test_volume_full_of_dead_workers
    empty, garbage, truncated, sparse, bad offsets, NaN,       | test_damaged_file
    shrinking: the scrape is 200 and the file set aside        | test_sparse_file_of_a_terabyte
                                                               | test_file_truncated_while_it_is_read
                                                               | test_counter_that_shrinks
                                                               | test_damaged_totals
    planted symlink, FIFO, directory, hard link                | test_planted_worker_file
                                                               | test_nothing_is_set_aside
                                                               | test_planted_totals
    SIGSTOP, blocked event loop, GIL held by native code       | test_stopped_workers_are_served_and_age
                                                               | test_frozen_application_is_served
    killed but unreaped worker counts as dead                  | test_killed_worker_that_was_not_waited_for_is_dead
    killed in its first second on a busy machine               | test_killed_in_its_first_second
    parent dead while a forked child keeps the mapping         | test_parent_dead_while_its_child_lives
    fork in C, without Python's hooks                          | test_child_leaves_its_parents_file_alone
    fork while another thread is in a handler                  | test_fork_while_another_thread_is_in_a_handler
    leaked connection collected inside a handler               | test_leaked_connection_collected_inside_a_handler
    asynchronous exception at any point of a handler           | test_asynchronous_exception_at_any_point
    wall-clock jump, other time namespace, other boot          | test_wall_clock_jumps
                                                               | test_wall_clock_jumps_in_another_time_namespace
                                                               | test_other_time_namespace
                                                               | test_other_boot
    directory or file deleted under a living worker            | test_file_deleted_under_a_living_worker
                                                               | test_directory_deleted_under_a_living_worker
    two versions of the schema side by side, buckets monotone  | test_two_versions_side_by_side
    workers and readers of two releases                        | test_workers_of_two_releases_are_added_up
                                                               | test_totals_of_two_releases_are_added_up
                                                               | test_file_of_another_major_version
    sidecar under another uid, same gid; a stranger            | test_sidecar_with_nothing_but_the_group
    the same without a common gid, mode 0644                   | test_sidecar_of_another_user_without_a_common_group
    1,000 pools in one process                                 | test_a_thousand_pools
                                                               | test_more_names_than_the_totals_keep
    thousands of short-lived workers                           | test_thousands_of_short_lived_workers
    a handler that raises internally                           | test_handler_that_raises_internally
                                                               | test_errors_of_dead_workers_are_not_forgotten
    web.config.file: passwords, certificates, malformed, limit | tests/sidecar, tests/integration/test_sidecar.py

Only the jump of the wall clock is simulated: a real one would affect all of this machine.
"""
