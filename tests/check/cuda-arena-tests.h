/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The tests of cuda-arena, by file. */
#ifndef CUDA_ARENA_TESTS_H
#define CUDA_ARENA_TESTS_H

#include "cuda-fixture.h"

/* cuda-arena-failures.c */
void test_nothing_is_left_when_any_call_fails (void);
void test_drivers_that_lack_something (void);
void test_gpus_that_lack_something (void);

/* cuda-arena-fences.c */
void test_fences_that_are_none (void);
void test_a_wait_ends_with_its_own_word_alone (void);
void test_highest_fence_values (void);
void test_a_release_gets_past_several_waits (void);
void test_last_references_go_in_a_callback (void);
void test_a_callback_runs_behind_a_wait (void);
void test_a_callback_runs_behind_a_wait_whatever_fails (void);
void test_a_callback_for_an_idle_stream (void);
void test_a_callback_for_the_default_stream (void);
void test_last_reference_goes_on_another_thread (void);

/* cuda-arena-mirror.c */
uint64_t *give_mirror (CuframesArena * arena);
void test_a_mirror_follows_its_fence (void);
void test_memory_stays_until_its_fences_are_reached (void);

/* cuda-arena-processes.c */
void test_another_process_reads_and_cannot_write (void);
void test_a_fence_orders_the_frame_for_another_process (void);
void test_waits_of_a_dead_publisher_are_released (void);
void test_a_reader_outlives_the_publisher (void);
void test_without_a_driver (void);
void test_without_a_gpu (void);
void test_two_gpus_within_reach (void);
void test_two_gpus_out_of_reach (void);
int play_role (const char *name, int link);

#endif
