/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A table of driver entry points that stands before any driver, real or software: lets one call fail, pretends another GPU or
 * a lesser one, and counts what is taken and given back. */
#ifndef CUDA_FAULTS_H
#define CUDA_FAULTS_H

#include "cuframes-cuda-driver.h"

typedef struct
{
  int handles, mappings, reservations, streams, pushed_contexts, registrations;
} CudaLive;

/* Takes the place of driver. */
void cuda_faults_install (const CuframesCudaDriver * driver);
/* The nth call from now on fails, once; 0 takes that back. A call that gives something back or waits does so and
 * fails nevertheless. */
void cuda_faults_arm (int nth);
/* The driver's name of the call that failed, NULL if none did since arming. */
const char *cuda_faults_get_fired (void);
CudaLive cuda_faults_get_live (void);
/* Waits until just that is live; false when the time is over. */
bool cuda_faults_wait_live (CudaLive wanted, int timeout_s);
/* Memory comes with something in it from now on, as that of a real GPU may; false takes that back. */
void cuda_faults_soil_memory (bool soil);
/* Nothing can be mapped from now on; false takes that back. */
void cuda_faults_refuse_mappings (bool refuse);
/* attribute reads 0 from now on; 0 takes that back. */
void cuda_faults_hide_attribute (int attribute);
/* From now on there is one more GPU than the driver says, with this UUID, where all memory is said to be; NULL takes that back. */
void cuda_faults_pretend_owner (const uint8_t * uuid, bool reachable);

#endif
