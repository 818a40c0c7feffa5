/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The whole public interface of libcuframes. */
#ifndef CUFRAMES_H
#define CUFRAMES_H

#include "cuframes-arena.h"
#include "cuframes-observer.h"
#include "cuframes-publisher.h"
#include "cuframes-subscriber.h"
#include "cuframes-types.h"

#endif
