/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The environment, read once.
 */
#include "fakecuda-private.h"

#include <stdlib.h>

static FakecudaConfig config;
static pthread_once_t config_once = PTHREAD_ONCE_INIT;

unsigned int
fakecuda_getenv_uint (const char *name, unsigned int fallback)
{
  const char *text = getenv (name);

  return text != NULL && *text != '\0' ? strtoul (text, NULL, 0) : fallback;
}

/* Like the real driver, the list ends at the first number that is no device. */
static void
load_visible_devices (void)
{
  const char *text = getenv ("CUDA_VISIBLE_DEVICES");
  char *end;
  int i;

  if (text == NULL) {
    for (i = 0; i < config.host_device_count; i++)
      config.visible[i] = i;
    config.device_count = config.host_device_count;
    return;
  }

  while (config.device_count < FAKECUDA_MAX_DEVICES) {
    long device = strtol (text, &end, 10);

    if (end == text || device < 0 || device >= config.host_device_count)
      break;
    config.visible[config.device_count++] = device;
    if (*end != ',')
      break;
    text = end + 1;
  }
}

static void
load_config (void)
{
  unsigned int count = fakecuda_getenv_uint ("FAKECUDA_DEVICES", 1);

  if (fakecuda_getenv_uint ("FAKECUDA_NO_DEVICE", 0))
    count = 0;
  if (count > FAKECUDA_MAX_DEVICES)
    count = FAKECUDA_MAX_DEVICES;
  config.host_device_count = count;
  load_visible_devices ();

  config.vmm = !fakecuda_getenv_uint ("FAKECUDA_NO_VMM", 0);
  config.stream_mem_ops =
      !fakecuda_getenv_uint ("FAKECUDA_NO_STREAM_MEM_OPS", 0);
  config.peer = fakecuda_getenv_uint ("FAKECUDA_PEER", 1) != 0;
  config.driver_version =
      fakecuda_getenv_uint ("FAKECUDA_DRIVER_VERSION", 12040);
  config.memory_bytes =
      (size_t) fakecuda_getenv_uint ("FAKECUDA_MEMORY_MIB", 16384) << 20;
  config.seed = fakecuda_getenv_uint ("FAKECUDA_SEED", 1);
  config.delay_us = fakecuda_getenv_uint ("FAKECUDA_DELAY_US", 300);
  config.report_path = getenv ("FAKECUDA_REPORT");
}

const FakecudaConfig *
fakecuda_config (void)
{
  pthread_once (&config_once, load_config);
  return &config;
}
