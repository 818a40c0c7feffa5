/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The channels that cuframes-top shows, and what their publishers say of them. */
#ifndef TOP_CHANNELS_H
#define TOP_CHANNELS_H

#include <stdbool.h>

#include "cuframes.h"

typedef enum
{
  TOP_CHANNEL_SILENT,           /* somebody listens and does not answer */
  TOP_CHANNEL_LIVE,
  TOP_CHANNEL_GONE,             /* nobody listens */
  TOP_CHANNEL_REFUSED,          /* we may not know */
} TopChannelState;

typedef struct
{
  char *name;
  char path[CUFRAMES_SOCKET_PATH_BYTES];
  TopChannelState state;
  char reason[CUFRAMES_TEXT_BYTES];     /* why it is not live */
  CuframesObserver *observer;
  uint32_t pid;
  CuframesPublisherStats stats; /* the newest, of whatever age */
  CuframesSubscriberStats *subscribers;
  uint32_t subscriber_count;
  double fps;                   /* of packets, if it carries such */
  double bits_per_second;
  uint64_t missed;              /* by its subscribers of now */
  void *format;
  uint32_t format_bytes;
  char *caps, *brief;           /* of the format; NULL if not known */
  bool is_named;                /* by the user: shown whether it is there or not */
  bool seen, waiting, redialled;
} TopChannel;

typedef enum
{
  TOP_ORDER_NAME,
  TOP_ORDER_FPS,
  TOP_ORDER_BITRATE,
  TOP_ORDER_SUBSCRIBERS,
  TOP_ORDER_LEASES,
  TOP_ORDER_DROPS,
  TOP_ORDER_MISSED,
  TOP_ORDER_AGE,
  TOP_ORDER_MEMORY,
  TOP_ORDERS,
} TopOrder;

extern const char *const top_order_names[TOP_ORDERS];

typedef struct
{
  char directory[CUFRAMES_SOCKET_PATH_BYTES];
  TopChannel **channels;
  uint32_t count, capacity;
  bool only_named;
  CuframesSubscriberStats *scratch;
} TopChannels;

int top_channels_init (TopChannels * self, const char *directory);
void top_channels_clear (TopChannels * self);
int top_channels_add (TopChannels * self, const char *name);
int top_channels_look (TopChannels * self, uint64_t timeout_ns);
void top_channels_sort (TopChannels * self, TopOrder order, bool reverse);

uint64_t top_now_ns (void);
const char *top_name_state (TopChannelState state);
const char *top_name_memory (uint32_t kind);
bool top_carries_packets (const TopChannel * channel);

#endif
