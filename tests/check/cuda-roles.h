/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The other processes of the tests of GPU memory between elements. */
#ifndef CUDA_ROLES_H
#define CUDA_ROLES_H

#include "element-fixture.h"

extern const FixtureRole cuda_roles[];
extern const size_t cuda_role_count;

/* A process that is started with this variable sets those in it ("NAME=VALUE" or, to have none, "NAME", with blanks between) and starts
 * again, so that they hold for the loader too. */
#define CUDA_ROLE_ENVIRONMENT "CUFRAMES_TEST_ENVIRONMENT"

/* Whether memory of this GStreamer carries a stream, so that work on it may still be under way. */
gboolean cuda_has_streams (void);

#endif
