/*
 * A thread that decompresses one stream, and digests what it reads: from a few pieces of input into a few buffers, so that it
 * goes on while JavaScript hashes and writes what is there. All memory is JavaScript's, which keeps a piece until it was taken and
 * a buffer until it is filled, or until the decoder is closed. It hears by one callback, without arguments, that there are news.
 */
#include "decoder.h"

#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "decoding.h"
#include "thread.h"

/* What may wait on either side. */
enum { MOST_WAITING = 8 };

typedef struct {
  uint8_t *data;
  size_t size;
} memory;

typedef struct {
  memory items[MOST_WAITING];
  unsigned first, count;
} queue;

/* How a stream ended; JavaScript knows the numbers (src/sys/decoder.ts). */
typedef enum { GOES_ON, ENDED, ENDED_EARLY, DAMAGED } standing;

typedef struct {
  pthread_mutex_t lock;
  pthread_cond_t changed; /* there is more to do, or it is to stop */
  pthread_t thread;
  napi_threadsafe_function tell;
  const format *format;
  decoding *decoding;
  EVP_MD_CTX *digest; /* NULL: nobody asks for it */
  queue inputs, outputs, filled;
  uint32_t taken; /* inputs that are used up, and were not told of yet */
  standing state;
  const char *problem;
  bool is_open, is_all, stops, told;
} decoder;

static bool put(queue *q, memory item) {
  if (q->count == MOST_WAITING) return false;
  q->items[(q->first + q->count++) % MOST_WAITING] = item;
  return true;
}

static memory get(queue *q) {
  memory item = q->items[q->first];
  q->first = (q->first + 1) % MOST_WAITING;
  q->count--;
  return item;
}

/* Once for all that JavaScript has not asked for yet. It never waits, so the lock may be held. */
static void tell(decoder *d) {
  if (d->told) return;
  d->told = true;
  napi_call_threadsafe_function(d->tell, NULL, napi_tsfn_nonblocking);
}

/* What the thread has in its hands. */
typedef struct {
  memory output;
  bytes_in in;
  bytes_out out;
  bool has_input, has_output;
  bool is_cut; /* the last output was too small: there may be more to come without input */
} hands;

static size_t made(const hands *h) { return h->output.size - h->out.left; }

static void deliver(decoder *d, hands *h) {
  put(&d->filled, (memory){h->output.data, made(h)}); /* never more than there were outputs */
  h->has_output = false;
  tell(d);
}

static void end(decoder *d, standing state, const char *problem) {
  d->state = state;
  d->problem = problem;
  tell(d);
}

static void take_output(decoder *d, hands *h) {
  h->output = get(&d->outputs);
  h->out = (bytes_out){h->output.data, h->output.size};
  h->has_output = true;
}

static void release_input(decoder *d, hands *h) {
  h->has_input = false;
  d->taken++;
  tell(d);
}

static void take_input(decoder *d, hands *h) {
  memory input = get(&d->inputs);
  h->in = (bytes_in){input.data, input.size};
  h->has_input = true;
  if (!d->digest) return;
  pthread_mutex_unlock(&d->lock);
  int done = EVP_DigestUpdate(d->digest, input.data, input.size);
  pthread_mutex_lock(&d->lock);
  if (!done) end(d, DAMAGED, "cannot be digested");
}

/* Another piece of input, for which what was made so far does not wait; the end is where none will come. */
static void find_input(decoder *d, hands *h) {
  if (h->has_input) release_input(d, h);
  else if (d->inputs.count > 0) take_input(d, h);
  else if (made(h) > 0) deliver(d, h);
  else if (d->is_all) end(d, d->format->may_end(d->decoding) ? ENDED : ENDED_EARLY, NULL);
  else pthread_cond_wait(&d->changed, &d->lock);
}

static void decode(decoder *d, hands *h) {
  pthread_mutex_unlock(&d->lock);
  const char *problem = d->format->some(d->decoding, &h->in, &h->out);
  pthread_mutex_lock(&d->lock);
  h->is_cut = h->out.left == 0;
  if (problem) end(d, DAMAGED, problem);
  else if (h->is_cut) deliver(d, h);
}

static void go_on(decoder *d, hands *h) {
  if (h->has_output && (h->in.left > 0 || h->is_cut)) decode(d, h);
  else if (h->has_output) find_input(d, h);
  else if (d->outputs.count > 0) take_output(d, h);
  else pthread_cond_wait(&d->changed, &d->lock);
}

static void *run(void *argument) {
  decoder *d = argument;
  hands h = {0};
  pthread_setname_np(pthread_self(), "berth-decoder");
  pthread_mutex_lock(&d->lock);
  while (!d->stops && d->state == GOES_ON) go_on(d, &h);
  pthread_mutex_unlock(&d->lock);
  return NULL;
}

static void stop_thread(decoder *d) {
  pthread_mutex_lock(&d->lock);
  d->stops = true;
  pthread_cond_broadcast(&d->changed);
  pthread_mutex_unlock(&d->lock);
  pthread_join(d->thread, NULL);
  d->is_open = false;
}

/* JavaScript's thread ends in the middle, and takes the function that it hears by along. */
static void leave(void *data) { stop_thread(data); }

/* After it no memory of JavaScript's is touched any more. */
static void shut(napi_env env, decoder *d) {
  if (d->is_open) {
    stop_thread(d);
    napi_remove_env_cleanup_hook(env, leave, d);
    napi_release_threadsafe_function(d->tell, napi_tsfn_abort);
  }
  if (d->decoding) d->format->close(d->decoding);
  EVP_MD_CTX_free(d->digest);
  d->decoding = NULL;
  d->digest = NULL;
}

static void free_decoder(napi_env env, void *data, void *hint) {
  (void)hint;
  decoder *d = data;
  shut(env, d);
  pthread_cond_destroy(&d->changed);
  pthread_mutex_destroy(&d->lock);
  free(d);
}

static bool take_format(napi_env env, napi_value value, const format **found) {
  static const format *const formats[] = {&gzip_format, &zstd_format};
  uint32_t number;
  bool known = napi_get_value_uint32(env, value, &number) == napi_ok && number < sizeof formats / sizeof *formats;
  if (known) *found = formats[number];
  else addon_throw_type(env, "No such format");
  return known;
}

/* An empty name: none is wanted. */
static bool take_digest(napi_env env, napi_value value, EVP_MD_CTX **digest) {
  char name[16];
  size_t length;
  bool is_text = napi_get_value_string_latin1(env, value, name, sizeof name, &length) == napi_ok;
  if (is_text && length == 0) return true;
  const EVP_MD *algorithm = is_text ? EVP_get_digestbyname(name) : NULL;
  *digest = algorithm ? EVP_MD_CTX_new() : NULL;
  if (*digest && EVP_DigestInit_ex(*digest, algorithm, NULL)) return true;
  addon_throw_type(env, "No such digest");
  return false;
}

static bool start(napi_env env, napi_value callback, decoder *d) {
  napi_value name;
  if (napi_create_string_utf8(env, "decoder", NAPI_AUTO_LENGTH, &name) != napi_ok ||
      napi_create_threadsafe_function(env, callback, NULL, name, 0, 1, NULL, NULL, NULL, NULL, &d->tell) != napi_ok) {
    addon_throw_type(env, "A decoder needs a function to call");
    return false;
  }
  d->decoding = d->format->open();
  int err = d->decoding ? addon_thread(&d->thread, run, d) : ENOMEM;
  d->is_open = err == 0;
  /* Hooks run in the reverse order: the function is still there when ours does. */
  if (d->is_open && napi_add_env_cleanup_hook(env, leave, d) == napi_ok) return true;
  if (d->is_open) stop_thread(d);
  napi_release_threadsafe_function(d->tell, napi_tsfn_abort);
  addon_throw_errno(env, err ? err : ENOMEM, "decompress", NULL);
  return false;
}

/* openDecoder(format, digest, callback): 0 is gzip, 1 zstd; the digest is sha256, sha512 or "", which is none. */
napi_value open_decoder(napi_env env, napi_callback_info info) {
  napi_value args[3], handle;
  if (!take_arguments(env, info, 3, args)) return NULL;
  decoder *d = calloc(1, sizeof *d);
  if (!d) return addon_throw_errno(env, ENOMEM, "decompress", NULL);
  pthread_mutex_init(&d->lock, NULL);
  pthread_cond_init(&d->changed, NULL);
  if (napi_create_external(env, d, free_decoder, NULL, &handle) != napi_ok) {
    free_decoder(env, d, NULL);
    return NULL;
  }
  bool opened =
      take_format(env, args[0], &d->format) && take_digest(env, args[1], &d->digest) && start(env, args[2], d);
  return opened ? handle : NULL;
}

static bool take_decoder(napi_env env, napi_value value, decoder **d) {
  if (napi_get_value_external(env, value, (void **)d) == napi_ok && *d && (*d)->is_open) return true;
  addon_throw_type(env, "Not a decoder, or a closed one");
  return false;
}

/* Adds a buffer to one of the queues. */
static napi_value add(napi_env env, napi_callback_info info, bool is_input) {
  napi_value args[2];
  decoder *d;
  memory given;
  if (!take_arguments(env, info, 2, args) || !take_decoder(env, args[0], &d)) return NULL;
  if (napi_get_buffer_info(env, args[1], (void **)&given.data, &given.size) != napi_ok || given.size == 0 ||
      given.size > INT32_MAX)
    return addon_throw_type(env, "Input and output must be buffers that are not empty");
  pthread_mutex_lock(&d->lock);
  bool fits = put(is_input ? &d->inputs : &d->outputs, given);
  pthread_cond_broadcast(&d->changed);
  pthread_mutex_unlock(&d->lock);
  return fits ? make_int(env, 0) : addon_throw_errno(env, EAGAIN, "decompress", NULL);
}

/* decoderPush(decoder, input): what comes next. */
napi_value decoder_push(napi_env env, napi_callback_info info) { return add(env, info, true); }

/* decoderRoom(decoder, output): a buffer to be filled. */
napi_value decoder_room(napi_env env, napi_callback_info info) { return add(env, info, false); }

/* decoderEnd(decoder): that was all. */
napi_value decoder_end(napi_env env, napi_callback_info info) {
  napi_value args[1];
  decoder *d;
  if (!take_arguments(env, info, 1, args) || !take_decoder(env, args[0], &d)) return NULL;
  pthread_mutex_lock(&d->lock);
  d->is_all = true;
  pthread_cond_broadcast(&d->changed);
  pthread_mutex_unlock(&d->lock);
  return make_int(env, 0);
}

/* All news, which are none afterwards. The lock is held. */
static napi_value take_news(napi_env env, decoder *d) {
  napi_value news;
  uint32_t at = 0;
  if (napi_create_array(env, &news) != napi_ok ||
      napi_set_element(env, news, at++, make_int(env, d->state)) != napi_ok ||
      napi_set_element(env, news, at++, make_number(env, d->taken)) != napi_ok)
    return NULL;
  d->told = false;
  d->taken = 0;
  while (d->filled.count > 0)
    if (napi_set_element(env, news, at++, make_number(env, (double)get(&d->filled).size)) != napi_ok) return NULL;
  return news;
}

/*
 * decoderTake(decoder): [state, taken, ...filled]: how many inputs are used up, and how many bytes each buffer has, the first
 * given first. Without more to come, the state says how it ended; see decoderProblem.
 */
napi_value decoder_take(napi_env env, napi_callback_info info) {
  napi_value args[1];
  decoder *d;
  if (!take_arguments(env, info, 1, args) || !take_decoder(env, args[0], &d)) return NULL;
  pthread_mutex_lock(&d->lock);
  napi_value news = take_news(env, d);
  pthread_mutex_unlock(&d->lock);
  return news;
}

/* decoderProblem(decoder): what is wrong with the data that is damaged. */
napi_value decoder_problem(napi_env env, napi_callback_info info) {
  napi_value args[1], text;
  decoder *d;
  if (!take_arguments(env, info, 1, args) || !take_decoder(env, args[0], &d)) return NULL;
  pthread_mutex_lock(&d->lock);
  const char *problem = d->problem ? d->problem : "";
  pthread_mutex_unlock(&d->lock);
  return napi_create_string_utf8(env, problem, NAPI_AUTO_LENGTH, &text) == napi_ok ? text : NULL;
}

/* decoderDigest(decoder): of all input, once it has ended. To be asked once. */
napi_value decoder_digest(napi_env env, napi_callback_info info) {
  napi_value args[1], bytes;
  decoder *d;
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (!take_arguments(env, info, 1, args) || !take_decoder(env, args[0], &d)) return NULL;
  pthread_mutex_lock(&d->lock);
  bool done = d->digest && d->state == ENDED && EVP_DigestFinal_ex(d->digest, digest, &size) == 1;
  pthread_mutex_unlock(&d->lock);
  if (!done) return addon_throw_type(env, "There is no digest of it");
  return napi_create_buffer_copy(env, size, digest, NULL, &bytes) == napi_ok ? bytes : NULL;
}

/* closeDecoder(decoder): its thread has ended and its memory is free when this returns. */
napi_value close_decoder(napi_env env, napi_callback_info info) {
  napi_value args[1];
  decoder *d;
  if (!take_arguments(env, info, 1, args) || !take_decoder(env, args[0], &d)) return NULL;
  shut(env, d);
  return make_int(env, 0);
}
