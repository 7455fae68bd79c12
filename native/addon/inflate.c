/*
 * What gzip has compressed, decompressed off the caller's thread: member after member, each with its checksum, until a
 * zero follows one, which is padding. ISA-L does the work, but for the headers of members.
 */
#include "inflate.h"

#include <errno.h>
#include <isa-l/igzip_lib.h>
#include <stdlib.h>

#include "gzip.h"
#include "work.h"

/* What is wrong with the data, as JavaScript hears it (src/sys/inflate.ts). */
enum { BAD_HEADER = -1, BAD_DATA = -2, BAD_CHECKSUM = -3 };

typedef enum { IN_HEADER, IN_MEMBER, BETWEEN_MEMBERS, IN_PADDING } phase;

typedef struct {
  struct inflate_state *state; /* a hundred kilobytes; NULL: it is closed */
  gzip_header header;
  phase phase;
  bool busy;
} inflater;

/* One step: as much of `input` into `output` as fits. The references keep both, and the inflater, while it is done. */
typedef struct {
  addon_work work;
  napi_env env;
  napi_ref held[3];
  inflater *inflater;
  uint8_t *input, *output;
  uint32_t input_size, output_size;
  int problem;
} step;

static void free_inflater(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  inflater *f = data;
  free(f->state);
  free(f);
}

/* openInflater(): what is known of one stream. */
napi_value open_inflater(napi_env env, napi_callback_info info) {
  (void)info;
  napi_value result;
  inflater *f = calloc(1, sizeof *f);
  if (f) f->state = malloc(sizeof *f->state);
  if (!f || !f->state) {
    free(f);
    return addon_throw_errno(env, ENOMEM, "inflate", NULL);
  }
  isal_inflate_init(f->state);
  f->state->crc_flag = ISAL_GZIP_NO_HDR_VER;
  if (napi_create_external(env, f, free_inflater, NULL, &result) == napi_ok) return result;
  free_inflater(env, f, NULL);
  return NULL;
}

static bool take_inflater(napi_env env, napi_value value, inflater **f) {
  if (napi_get_value_external(env, value, (void **)f) == napi_ok && *f && (*f)->state) return true;
  addon_throw_type(env, "Not an inflater, or a closed one");
  return false;
}

/* closeInflater(inflater): its memory is free at once, rather than when the collector comes. */
napi_value close_inflater(napi_env env, napi_callback_info info) {
  napi_value args[1];
  inflater *f;
  if (!take_arguments(env, info, 1, args) || !take_inflater(env, args[0], &f)) return NULL;
  if (f->busy) return addon_throw_errno(env, EBUSY, "close an inflater", NULL);
  free(f->state);
  f->state = NULL;
  return make_int(env, 0);
}

/* 1: go on, 0: the header's rest is not here yet. */
static int begin_member(inflater *f) {
  int found = take_gzip_header(&f->header, &f->state->next_in, &f->state->avail_in);
  if (found < 0) return BAD_HEADER;
  if (found == 0) return 0;
  isal_inflate_reset(f->state);
  f->phase = IN_MEMBER;
  return 1;
}

/* The same; 0: the output is full, or the input used up. */
static int inflate_member(inflater *f) {
  struct inflate_state *s = f->state;
  uint32_t in = s->avail_in, out = s->avail_out;
  int err = isal_inflate(s);
  if (err < 0) return err == ISAL_INCORRECT_CHECKSUM ? BAD_CHECKSUM : BAD_DATA;
  if (s->block_state == ISAL_BLOCK_FINISH) {
    f->phase = BETWEEN_MEMBERS;
    return 1;
  }
  if (s->avail_out == 0) return 0;
  if (in > 0 && s->avail_in == in && s->avail_out == out) return BAD_DATA; /* it would stand still for ever */
  return s->avail_in > 0;
}

static int after_member(inflater *f) {
  if (f->state->avail_in == 0) return 0;
  f->header = (gzip_header){0};
  f->phase = *f->state->next_in == 0 ? IN_PADDING : IN_HEADER;
  return 1;
}

static int go_on(inflater *f) {
  switch (f->phase) {
    case IN_HEADER: return begin_member(f);
    case IN_MEMBER: return inflate_member(f);
    case BETWEEN_MEMBERS: return after_member(f);
    case IN_PADDING: f->state->avail_in = 0; return 0;
  }
  return BAD_DATA;
}

static int run_step(addon_work *work) {
  step *s = (step *)work;
  struct inflate_state *state = s->inflater->state;
  state->next_in = s->input;
  state->avail_in = s->input_size;
  state->next_out = s->output;
  state->avail_out = s->output_size;
  while ((s->problem = go_on(s->inflater)) > 0) {}
  return 0;
}

/* [read, written], or what is wrong. */
static napi_value step_result(napi_env env, addon_work *work) {
  const step *s = (step *)work;
  const struct inflate_state *state = s->inflater->state;
  napi_value result;
  if (s->problem < 0) return make_int(env, s->problem);
  if (napi_create_array_with_length(env, 2, &result) != napi_ok ||
      napi_set_element(env, result, 0, make_number(env, s->input_size - state->avail_in)) != napi_ok ||
      napi_set_element(env, result, 1, make_number(env, s->output_size - state->avail_out)) != napi_ok)
    return NULL;
  return result;
}

static void free_step(addon_work *work) {
  step *s = (step *)work;
  if (s->inflater) s->inflater->busy = false;
  for (size_t i = 0; i < sizeof s->held / sizeof *s->held; i++)
    if (s->held[i]) napi_delete_reference(s->env, s->held[i]);
  free(s);
}

static bool take_memory(napi_env env, napi_value value, uint8_t **data, uint32_t *size) {
  size_t length;
  if (napi_get_buffer_info(env, value, (void **)data, &length) == napi_ok && length <= INT32_MAX) {
    *size = (uint32_t)length;
    return true;
  }
  addon_throw_type(env, "Input and output must be buffers");
  return false;
}

static bool claim(napi_env env, napi_value value, step *s) {
  inflater *f;
  if (!take_inflater(env, value, &f)) return false;
  if (f->busy) {
    addon_throw_errno(env, EBUSY, "inflate", NULL);
    return false;
  }
  f->busy = true;
  s->inflater = f;
  return true;
}

static bool hold(napi_env env, const napi_value *values, step *s) {
  for (size_t i = 0; i < sizeof s->held / sizeof *s->held; i++) {
    if (napi_create_reference(env, values[i], 1, &s->held[i]) == napi_ok) continue;
    addon_throw_errno(env, ENOMEM, "inflate", NULL);
    return false;
  }
  return true;
}

/* inflate(inflater, input, output): a promise, see step_result. Less than all of the output: it wants more input. */
napi_value inflate_call(napi_env env, napi_callback_info info) {
  napi_value args[3];
  step *s = calloc(1, sizeof *s);
  if (!s) return addon_throw_errno(env, ENOMEM, "inflate", NULL);
  s->work = (addon_work){.run = run_step, .result = step_result, .release = free_step, .what = "inflate"};
  s->env = env;
  if (!take_arguments(env, info, 3, args) || !take_memory(env, args[1], &s->input, &s->input_size) ||
      !take_memory(env, args[2], &s->output, &s->output_size) || !claim(env, args[0], s) || !hold(env, args, s))
    return addon_drop(&s->work);
  return addon_start(env, &s->work);
}

/* inflaterEnded(inflater): whether the stream may end where it is. */
napi_value inflater_ended(napi_env env, napi_callback_info info) {
  napi_value args[1], result;
  inflater *f;
  if (!take_arguments(env, info, 1, args) || !take_inflater(env, args[0], &f)) return NULL;
  return napi_get_boolean(env, f->phase >= BETWEEN_MEMBERS, &result) == napi_ok ? result : NULL;
}
