/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One line of JSON for one look at all channels. The man page lists the fields. */
#include "text.h"
#include "top-show.h"

static void
put_string (FILE *out, const char *name, const char *value)
{
  fprintf (out, "\"%s\":", name);
  if (value != NULL)
    text_put_json (out, value);
  else
    fputs ("null", out);
}

static void
put_number (FILE *out, const char *name, uint64_t value)
{
  fprintf (out, ",\"%s\":%llu", name, (unsigned long long) value);
}

static void
put_bool (FILE *out, const char *name, bool value)
{
  fprintf (out, ",\"%s\":%s", name, value ? "true" : "false");
}

static void
put_age (FILE *out, const char *name, uint64_t then_ns)
{
  const uint64_t now = top_now_ns ();

  if (then_ns == 0)
    fprintf (out, ",\"%s\":null", name);
  else
    put_number (out, name, now > then_ns ? now - then_ns : 0);
}

static void
put_subscriber (FILE *out, const CuframesSubscriberStats *subscriber)
{
  fputc ('{', out);
  put_string (out, "name", subscriber->name);
  put_number (out, "id", subscriber->id);
  put_number (out, "pid", subscriber->pid);
  put_number (out, "uid", subscriber->uid);
  put_bool (out, "observer", subscriber->observer);
  put_bool (out, "lingering", subscriber->lingering);
  put_number (out, "leases", subscriber->leases_held);
  put_number (out, "delivered", subscriber->delivered);
  put_number (out, "missed", subscriber->missed);
  put_number (out, "copied", subscriber->copied);
  put_number (out, "lag", subscriber->lag_frames);
  put_number (out, "wakeups", subscriber->wakeups);
  put_age (out, "attached_ns", subscriber->attached_ns);
  fputc ('}', out);
}

static void
put_figures (FILE *out, const TopChannel *channel)
{
  const CuframesPublisherStats *stats = &channel->stats;

  fprintf (out, ",\"kind\":\"%s\",\"fps\":%.3f,\"bits_per_second\":%.0f", stats->generation == 0 ? "none" : top_carries_packets (channel) ? "packets" : "frames",
      channel->fps, channel->bits_per_second);
  put_number (out, "pid", channel->pid);
  put_number (out, "generation", stats->generation);
  put_number (out, "num_subscribers", stats->subscribers);
  put_number (out, "frames", stats->frames);
  put_number (out, "drops", stats->dropped);
  put_number (out, "missed", channel->missed);
  put_number (out, "copies", stats->copies);
  put_number (out, "bytes", stats->bytes);
  put_number (out, "wakeups", stats->wakeups);
  put_number (out, "evicted", stats->evicted);
  put_number (out, "refused", stats->refused);
  put_number (out, "slots", stats->slots);
  put_number (out, "leases", stats->slots_leased);
  put_number (out, "slots_held", stats->slots_held);
  put_number (out, "memory_bytes", stats->memory_bytes);
  put_age (out, "age_ns", stats->last_publish_ns);
  fputs (",\"subscribers\":[", out);
  for (uint32_t i = 0; i < channel->subscriber_count; i++) {
    if (i > 0)
      fputc (',', out);
    put_subscriber (out, &channel->subscribers[i]);
  }
  fputc (']', out);
}

static void
put_channel (FILE *out, const TopChannel *channel)
{
  fputc ('{', out);
  put_string (out, "channel", channel->name);
  fputc (',', out);
  put_string (out, "socket_path", channel->path);
  fputc (',', out);
  put_string (out, "state", top_name_state (channel->state));
  fputc (',', out);
  if (channel->state != TOP_CHANNEL_LIVE)
    put_string (out, "reason", channel->reason);
  else {
    put_string (out, "format", channel->caps);
    fputc (',', out);
    put_string (out, "memory", top_name_memory (channel->stats.memory_kind));
    put_figures (out, channel);
  }
  fputc ('}', out);
}

void
top_show_json (FILE *out, const TopChannels *channels)
{
  fputc ('{', out);
  put_string (out, "directory", channels->directory);
  fputs (",\"channels\":[", out);
  for (uint32_t i = 0; i < channels->count; i++) {
    if (i > 0)
      fputc (',', out);
    put_channel (out, channels->channels[i]);
  }
  fputs ("]}\n", out);
}
