/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The handles by which a test holds the software CUDA driver.
 *
 * Calls are named without version suffix: "cuMemAlloc" is cuMemAlloc_v2.
 * The environment sets the rest, and is read once, at the driver's first call:
 *
 *   FAKECUDA_DEVICES=n            devices of this host (1)
 *   FAKECUDA_NO_DEVICE=1          a driver without any device
 *   FAKECUDA_NO_VMM=1             devices without virtual memory management
 *   FAKECUDA_NO_STREAM_MEM_OPS=1  devices without stream memory operations
 *   FAKECUDA_PEER=0               devices cannot reach each other (1)
 *   FAKECUDA_DRIVER_VERSION=n     what cuDriverGetVersion() says (12040)
 *   FAKECUDA_MEMORY_MIB=n         memory of each device (16384)
 *   FAKECUDA_SEED=n               of the streams' delays (1)
 *   FAKECUDA_DELAY_US=n           longest delay before a piece of work (300)
 *   FAKECUDA_FAIL=call:nth[=error],…   see fakecuda_fail()
 *   FAKECUDA_REPORT=path          append the live counts there at exit
 *   CUDA_VISIBLE_DEVICES=1,0      as with the real driver, numbers only
 */
#ifndef FAKECUDA_H
#define FAKECUDA_H

#ifdef __cplusplus
extern "C"
{
#endif

/* The nth use of call from now on returns error, once; nth 0 makes every use
 * fail.  error 0 stands for CUDA_ERROR_OUT_OF_MEMORY where memory is taken and
 * CUDA_ERROR_UNKNOWN elsewhere.  A failed call has done nothing. */
void fakecuda_fail (const char *call, int nth, int error);

/* Forgets all faults and call counts, lets held streams go.  Live objects stay
 * and stay counted. */
void fakecuda_reset (void);

/* How many of "handles", "mappings", "reservations", "allocations",
 * "contexts", "streams" or "events" were taken and not given back; -1 for
 * another word.  What a context took down with it counts as not given back. */
int fakecuda_live (const char *what);

/* How often call was used since the start or the last fakecuda_reset(). */
int fakecuda_calls (const char *call);

/* Streams start no further work until fakecuda_resume_streams(): what is
 * queued stays queued, without a sleep in the test. */
void fakecuda_hold_streams (void);
void fakecuda_resume_streams (void);

/* Where the CPU would see device memory.  A device pointer itself is no
 * address a CPU can use, as on a real machine; the pages behind this one have
 * the access that cuMemSetAccess() gave. */
void *fakecuda_host_pointer (unsigned long long device_pointer);

#ifdef __cplusplus
}
#endif

#endif
