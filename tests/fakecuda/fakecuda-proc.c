/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Entry points by name and version.
 */
#include "fakecuda-private.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

/* The few names that changed their symbol within the versions we cover; for
 * all others a "_v2" is older than any version that can be asked for. */
static const struct
{
  const char *name;
  int since_version;
  const char *symbol;
} changes[] = {
  {"cuCtxCreate", 11040, "cuCtxCreate_v3"},
  {"cuDeviceGetUuid", 11040, "cuDeviceGetUuid_v2"},
  {"cuGetProcAddress", 12000, "cuGetProcAddress_v2"},
  {"cuStreamWaitValue32", 12000, "cuStreamWaitValue32_v2"},
  {"cuStreamWaitValue64", 12000, "cuStreamWaitValue64_v2"},
  {"cuStreamWriteValue32", 12000, "cuStreamWriteValue32_v2"},
  {"cuStreamWriteValue64", 12000, "cuStreamWriteValue64_v2"},
};

/* Ours, even if the program holds another library of that name. */
static void *
find_symbol (const char *symbol)
{
  static void *self;
  Dl_info info;

  if (self == NULL && dladdr ((void *) find_symbol, &info) != 0)
    self = dlopen (info.dli_fname, RTLD_NOW | RTLD_NOLOAD);
  return self != NULL ? dlsym (self, symbol) : NULL;
}

static void *
find_entry_point (const char *name, int version)
{
  char versioned[128];
  void *function;
  size_t i;

  for (i = 0; i < sizeof (changes) / sizeof (changes[0]); i++) {
    if (strcmp (changes[i].name, name) != 0)
      continue;
    if (version >= changes[i].since_version)
      return find_symbol (changes[i].symbol);
    if (strcmp (name, "cuCtxCreate") != 0)
      return find_symbol (name);
  }
  snprintf (versioned, sizeof (versioned), "%s_v2", name);
  function = find_symbol (versioned);
  return function != NULL ? function : find_symbol (name);
}

static CUresult
get_proc_address (const char *name, void **ret_function, int version,
    CUdriverProcAddressQueryResult *ret_status)
{
  if (name == NULL || ret_function == NULL || strncmp (name, "cu", 2) != 0)
    return CUDA_ERROR_INVALID_VALUE;
  *ret_function = find_entry_point (name, version);
  if (ret_status != NULL)
    *ret_status = *ret_function != NULL ? CU_GET_PROC_ADDRESS_SUCCESS :
        CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
  return *ret_function != NULL ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

CUresult
cuGetProcAddress (const char *name, void **ret_function, int version,
    cuuint64_t flags, CUdriverProcAddressQueryResult *ret_status)
{
  FAKECUDA_ENTER_EARLY ();
  (void) flags;
  return get_proc_address (name, ret_function, version, ret_status);
}

/* What the name meant before it got its last parameter. */
#undef cuGetProcAddress
CUresult cuGetProcAddress (const char *name, void **ret_function, int version,
    cuuint64_t flags) __attribute__((visibility ("default")));

CUresult
cuGetProcAddress (const char *name, void **ret_function, int version,
    cuuint64_t flags)
{
  FAKECUDA_ENTER_EARLY ();
  (void) flags;
  return get_proc_address (name, ret_function, version, NULL);
}
