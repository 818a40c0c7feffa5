/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the publishers of a directory say. Everybody is asked at once, over connections that stay, and nobody's silence delays another's
 * answer. Knows nothing of how it is shown. */
#define _GNU_SOURCE
#include "top-channels.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "top-format.h"

#define SUFFIX ".sock"
/* More nanoseconds than any machine runs. */
#define LONG_AGO 4e18
/* Of one publisher at a time: one that never stops answering keeps nobody else from its turn. */
#define ANSWERS_AT_ONCE 16

const char *const top_order_names[TOP_ORDERS] = { "name", "fps", "bitrate", "subscribers", "leases", "drops", "missed", "age", "memory" };

uint64_t
top_now_ns (void)
{
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC, &now);
  return (uint64_t) now.tv_sec * 1000000000u + (uint64_t) now.tv_nsec;
}

const char *
top_name_state (TopChannelState state)
{
  static const char *const names[] = { "silent", "live", "gone", "refused" };

  return names[state];
}

const char *
top_name_memory (uint32_t kind)
{
  return kind == CUFRAMES_MEMORY_HOST ? "host" : kind == CUFRAMES_MEMORY_CUDA ? "cuda" : "none";
}

bool
top_carries_packets (const TopChannel *channel)
{
  return channel->stats.ring_kind == CUFRAMES_RING_PACKETS;
}

/* directory: NULL for that of this process. 0, -ENAMETOOLONG or -ENOMEM. */
int
top_channels_init (TopChannels *self, const char *directory)
{
  int r = 0;

  *self = (TopChannels) { 0 };
  if (directory == NULL)
    r = cuframes_channel_directory (self->directory, sizeof self->directory);
  else if ((size_t) snprintf (self->directory, sizeof self->directory, "%s", directory) >= sizeof self->directory)
    r = -ENAMETOOLONG;
  if (r == 0)
    self->scratch = calloc (CUFRAMES_SUBSCRIBERS_MAX, sizeof *self->scratch);
  return r == 0 && self->scratch == NULL ? -ENOMEM : r;
}

static void
channel_free (TopChannel *channel)
{
  cuframes_observer_free (channel->observer);
  free (channel->name);
  free (channel->subscribers);
  free (channel->format);
  free (channel->caps);
  free (channel->brief);
  free (channel);
}

void
top_channels_clear (TopChannels *self)
{
  for (uint32_t i = 0; i < self->count; i++)
    channel_free (self->channels[i]);
  free (self->channels);
  free (self->scratch);
  *self = (TopChannels) { 0 };
}

static int
append (TopChannels *self, const char *name, const char *path, TopChannel **ret_channel)
{
  TopChannel *channel;

  if (self->count == self->capacity) {
    const uint32_t capacity = self->capacity == 0 ? 64 : 2 * self->capacity;
    TopChannel **channels = realloc (self->channels, capacity * sizeof *channels);
    if (channels == NULL)
      return -ENOMEM;
    self->channels = channels;
    self->capacity = capacity;
  }
  channel = calloc (1, sizeof *channel);
  if (channel == NULL)
    return -ENOMEM;
  channel->name = strdup (name);
  if (channel->name == NULL) {
    free (channel);
    return -ENOMEM;
  }
  snprintf (channel->path, sizeof channel->path, "%s", path);
  self->channels[self->count++] = *ret_channel = channel;
  return 0;
}

/* Shows this one, and only such, from now on: a channel of the directory, or a socket by its path or "@name". 0, -EINVAL, -ENAMETOOLONG or
 * -ENOMEM. */
int
top_channels_add (TopChannels *self, const char *name)
{
  const bool is_path = name[0] == '@' || strchr (name, '/') != NULL;
  char path[2 * CUFRAMES_SOCKET_PATH_BYTES];
  TopChannel *channel;
  int r;

  if (name[0] == 0 || (name[0] == '.' && !is_path))
    return -EINVAL;
  if (is_path)
    snprintf (path, sizeof path, "%s", name);
  else
    snprintf (path, sizeof path, "%s/%s" SUFFIX, self->directory, name);
  if (strlen (path) >= CUFRAMES_SOCKET_PATH_BYTES)
    return -ENAMETOOLONG;
  r = append (self, name, path, &channel);
  if (r == 0)
    channel->is_named = self->only_named = true;
  return r;
}

static TopChannel *
find (const TopChannels *self, const char *name)
{
  for (uint32_t i = 0; i < self->count; i++)
    if (strcmp (self->channels[i]->name, name) == 0)
      return self->channels[i];
  return NULL;
}

static int
look_at_file (TopChannels *self, const char *file)
{
  const size_t length = strlen (file);
  char name[256], path[CUFRAMES_SOCKET_PATH_BYTES];
  TopChannel *channel;
  int r = 0;

  if (length <= strlen (SUFFIX) || file[0] == '.' || file[0] == '@' || strcmp (file + length - strlen (SUFFIX), SUFFIX) != 0)
    return 0;
  snprintf (name, sizeof name, "%.*s", (int) (length - strlen (SUFFIX)), file);
  channel = find (self, name);
  if (channel == NULL) {
    if ((size_t) snprintf (path, sizeof path, "%s/%s", self->directory, file) >= sizeof path)
      return 0;
    r = append (self, name, path, &channel);
  }
  if (r == 0)
    channel->seen = true;
  return r;
}

/* A directory that is not there has no channels yet. 0 or a negative errno. */
static int
scan (TopChannels *self)
{
  DIR *directory = opendir (self->directory);
  const int error = errno;
  struct dirent *entry;
  uint32_t kept = 0;
  int r = 0;

  if (directory == NULL && error != ENOENT && error != ENOTDIR)
    return -error;
  for (uint32_t i = 0; i < self->count; i++)
    self->channels[i]->seen = false;
  while (r == 0 && directory != NULL && (entry = readdir (directory)) != NULL)
    r = look_at_file (self, entry->d_name);
  if (directory != NULL)
    closedir (directory);
  for (uint32_t i = 0; i < self->count; i++)
    if (self->channels[i]->seen)
      self->channels[kept++] = self->channels[i];
    else
      channel_free (self->channels[i]);
  self->count = kept;
  return r;
}

static void
give_up (TopChannel *channel, TopChannelState state, const char *reason)
{
  channel->observer = cuframes_observer_free (channel->observer);
  channel->state = state;
  channel->waiting = false;
  channel->fps = channel->bits_per_second = 0;
  snprintf (channel->reason, sizeof channel->reason, "%s", reason);
}

static void
fail (TopChannel *channel, int r)
{
  char refusal[CUFRAMES_TEXT_BYTES];

  switch (r) {
    case CUFRAMES_E_ABSENT:
    case CUFRAMES_E_CLOSED:
      give_up (channel, TOP_CHANNEL_GONE, "nobody publishes there");
      break;
    case CUFRAMES_E_REFUSED:
      snprintf (refusal, sizeof refusal, "%s", cuframes_observer_get_refusal (channel->observer));
      give_up (channel, TOP_CHANNEL_REFUSED, refusal);
      break;
    case CUFRAMES_E_FULL:
      give_up (channel, TOP_CHANNEL_SILENT, "too many wait for it");
      break;
    case CUFRAMES_E_PEER:
    case -EPROTOTYPE:
      give_up (channel, TOP_CHANNEL_REFUSED, "what listens there is no publisher, or one of another release");
      break;
    default:
      give_up (channel, TOP_CHANNEL_REFUSED, strerror (abs (r)));
  }
}

static void
dial (TopChannel *channel)
{
  const int r = cuframes_observer_new (channel->path, &channel->observer);

  if (r != 0) {
    fail (channel, r);
    return;
  }
  channel->pid = cuframes_observer_get_pid (channel->observer);
  channel->waiting = true;
}

/* Who has left our last question unanswered is not asked again, but may answer it. */
static void
ask (TopChannel *channel)
{
  channel->redialled = channel->observer == NULL;
  if (channel->observer != NULL && !channel->waiting && cuframes_observer_ask (channel->observer) != 0) {
    channel->observer = cuframes_observer_free (channel->observer);
    channel->redialled = true;
  }
  if (channel->observer == NULL)
    dial (channel);
  else
    channel->waiting = true;
}

/* By the frames' own times, which are exact; a stream that has stopped for twice its period, or for a second, has no rate. */
static void
measure (TopChannel *channel, const CuframesPublisherStats *stats)
{
  const CuframesPublisherStats *before = &channel->stats;
  const uint64_t frames = stats->frames - before->frames, period_ns = stats->last_publish_ns - before->last_publish_ns;
  const double silence_s = (double) (top_now_ns () - stats->last_publish_ns) / 1e9;

  if (stats->ring_id != before->ring_id || before->last_publish_ns == 0)
    channel->fps = channel->bits_per_second = 0;
  else if (frames > 0 && period_ns > 0) {
    channel->fps = (double) frames * 1e9 / (double) period_ns;
    channel->bits_per_second = (double) (stats->bytes - before->bytes) * 8e9 / (double) period_ns;
  } else if (silence_s > 1 && silence_s * channel->fps > 2)
    channel->fps = channel->bits_per_second = 0;
}

static void
take_format (TopChannel *channel)
{
  uint32_t byte_count;
  const void *bytes = cuframes_observer_peek_format (channel->observer, &byte_count);

  if (byte_count == channel->format_bytes && (byte_count == 0 || memcmp (bytes, channel->format, byte_count) == 0))
    return;
  free (channel->caps);
  free (channel->brief);
  free (channel->format);
  channel->caps = channel->brief = NULL;
  channel->format_bytes = 0;
  channel->format = malloc (byte_count + 1);
  if (channel->format == NULL || byte_count == 0)
    return;
  memcpy (channel->format, bytes, byte_count);
  channel->format_bytes = byte_count;
  top_format_describe (bytes, byte_count, &channel->caps, &channel->brief);
}

/* We ourselves are not shown. */
static void
take_subscribers (TopChannel *channel, const CuframesSubscriberStats *subscribers, uint32_t count)
{
  CuframesSubscriberStats *copy = realloc (channel->subscribers, (count + 1) * sizeof *copy);

  channel->subscriber_count = 0;
  channel->missed = 0;
  if (copy == NULL)
    return;
  channel->subscribers = copy;
  for (uint32_t i = 0; i < count; i++) {
    if (subscribers[i].observer && subscribers[i].pid == (uint32_t) getpid ())
      continue;
    channel->missed += subscribers[i].missed;
    copy[channel->subscriber_count++] = subscribers[i];
  }
}

static void
hear (TopChannels *self, TopChannel *channel)
{
  CuframesPublisherStats stats;
  uint32_t count;
  int r = 0;

  for (unsigned i = 0; i < ANSWERS_AT_ONCE; i++) {
    r = cuframes_observer_receive (channel->observer, &stats, self->scratch, CUFRAMES_SUBSCRIBERS_MAX, &count);
    if (r != 0)
      break;
    measure (channel, &stats);
    channel->stats = stats;
    channel->state = TOP_CHANNEL_LIVE;
    channel->reason[0] = 0;
    channel->waiting = false;
    take_format (channel);
    take_subscribers (channel, self->scratch, count);
  }
  if (r == 0 || r == CUFRAMES_E_EMPTY)
    return;
  if (r == CUFRAMES_E_CLOSED && !channel->redialled) {
    channel->observer = cuframes_observer_free (channel->observer);
    channel->redialled = true;
    dial (channel);
  } else
    fail (channel, r);
}

/* One turn of listening to those who are waited for. 0 when there is nobody or no time left, 1 to go on, or a negative errno. */
static int
listen_once (TopChannels *self, struct pollfd *polls, uint64_t deadline_ns)
{
  const uint64_t now = top_now_ns (), left = now < deadline_ns ? deadline_ns - now : 0;
  const struct timespec timeout = { (time_t) (left / 1000000000u), (long) (left % 1000000000u) };
  uint32_t waiting = 0;
  int ready;

  for (uint32_t i = 0; i < self->count; i++) {
    polls[i] = (struct pollfd) {.fd = self->channels[i]->waiting ? cuframes_observer_peek_fd (self->channels[i]->observer) : -1,.events = POLLIN };
    waiting += self->channels[i]->waiting;
  }
  if (waiting == 0)
    return 0;
  ready = ppoll (polls, self->count, &timeout, NULL);
  if (ready < 0)
    return errno == EINTR ? 0 : -errno;
  for (uint32_t i = 0; i < self->count; i++)
    if (polls[i].fd >= 0 && polls[i].revents != 0)
      hear (self, self->channels[i]);
  return ready > 0 && left > 0;
}

/* Finds the channels that are there now, asks each and hears what comes within the time. 0 or a negative errno. */
int
top_channels_look (TopChannels *self, uint64_t timeout_ns)
{
  const uint64_t deadline_ns = top_now_ns () + timeout_ns;
  struct pollfd *polls;
  int r = self->only_named ? 0 : scan (self);

  if (r < 0)
    return r;
  polls = calloc (self->count + 1, sizeof *polls);
  if (polls == NULL)
    return -ENOMEM;
  for (uint32_t i = 0; i < self->count; i++)
    ask (self->channels[i]);
  do {
    r = listen_once (self, polls, deadline_ns);
  } while (r > 0);
  free (polls);
  for (uint32_t i = 0; i < self->count; i++)
    if (self->channels[i]->waiting) {
      self->channels[i]->state = TOP_CHANNEL_SILENT;
      snprintf (self->channels[i]->reason, sizeof self->channels[i]->reason, "it does not answer");
    }
  return r;
}

typedef struct
{
  TopOrder order;
  bool reverse;
} Sorting;

static double
get_key (const TopChannel *channel, TopOrder order)
{
  if (channel->state == TOP_CHANNEL_GONE || channel->state == TOP_CHANNEL_REFUSED)
    return -1;
  switch (order) {
    case TOP_ORDER_FPS:
      return channel->fps;
    case TOP_ORDER_BITRATE:
      return channel->bits_per_second;
    case TOP_ORDER_SUBSCRIBERS:
      return channel->stats.subscribers;
    case TOP_ORDER_LEASES:
      return channel->stats.slots_leased;
    case TOP_ORDER_DROPS:
      return (double) channel->stats.dropped;
    case TOP_ORDER_MISSED:
      return (double) channel->missed;
    case TOP_ORDER_AGE:
      return channel->stats.last_publish_ns == 0 ? 0 : LONG_AGO - (double) channel->stats.last_publish_ns;
    case TOP_ORDER_MEMORY:
      return (double) channel->stats.memory_bytes;
    default:
      return 0;
  }
}

static int
compare (const void *a, const void *b, void *user_data)
{
  const Sorting *sorting = user_data;
  const TopChannel *first = *(TopChannel * const *) a, *second = *(TopChannel * const *) b;
  const double x = get_key (first, sorting->order), y = get_key (second, sorting->order);
  int order = x > y ? -1 : x < y ? 1 : strverscmp (first->name, second->name);

  return sorting->reverse ? -order : order;
}

/* Names rise, numbers fall; reverse is the other way round. */
void
top_channels_sort (TopChannels *self, TopOrder order, bool reverse)
{
  Sorting sorting = { order, reverse };

  if (self->count > 0)
    qsort_r (self->channels, self->count, sizeof *self->channels, compare, &sorting);
}
