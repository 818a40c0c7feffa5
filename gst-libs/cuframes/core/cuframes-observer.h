/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef CUFRAMES_OBSERVER_H
#define CUFRAMES_OBSERVER_H

#include "cuframes-types.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * CuframesObserver:
 *
 * Looks on at a channel without taking part: it reads the publisher's statistics, is told when the format changes and when the publisher
 * goes, and can never hold a frame. None of its functions waits. One thread at a time.
 *
 * Since: 0.1
 */
typedef struct _CuframesObserver CuframesObserver;

CUFRAMES_API int cuframes_observe (const char *socket_path, uint64_t timeout_ns, CuframesPublisherStats * ret_stats,
    CuframesSubscriberStats * ret_subscribers, uint32_t capacity, uint32_t * ret_count);

CUFRAMES_API int cuframes_observer_new (const char *socket_path, CuframesObserver ** ret_observer);
CUFRAMES_API CuframesObserver *cuframes_observer_free (CuframesObserver * observer);
CUFRAMES_API int cuframes_observer_peek_fd (const CuframesObserver * observer);
CUFRAMES_API int cuframes_observer_ask (CuframesObserver * observer);
CUFRAMES_API int cuframes_observer_receive (CuframesObserver * observer, CuframesPublisherStats * ret_stats,
    CuframesSubscriberStats * ret_subscribers, uint32_t capacity, uint32_t * ret_count);
CUFRAMES_API const void *cuframes_observer_peek_format (const CuframesObserver * observer, uint32_t * ret_byte_count);
CUFRAMES_API const char *cuframes_observer_get_refusal (const CuframesObserver * observer);
CUFRAMES_API uint32_t cuframes_observer_get_pid (const CuframesObserver * observer);

#ifdef __cplusplus
}
#endif
#endif
