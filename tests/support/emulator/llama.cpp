// Twins of the llama family's kernels.
#include "support/emulator/twins.hpp"

namespace sherd::emulator {
namespace {

kernels::KeyValueCache real(const kernels::KeyValueCache& cache) {
  return {cache.capacity, emulator::real(cache.keys), emulator::real(cache.values)};
}

}  // namespace

void cache_append(const kernels::CacheAppendArgs& args, StreamRef stream) {
  put(stream, [own = kernels::CacheAppendArgs{args.shape, real(args.qkv), real(args.cache),
                                              args.first_position}](Hands& hands) {
    kernels::cache_append(own, hands.cpu);
  });
}

void attention_cached(const kernels::AttentionCachedArgs& args, StreamRef stream) {
  const kernels::AttentionCachedArgs own{args.shape,     real(args.qkv), real(args.cache),
                                         args.positions, real(args.out), args.scratch};
  put(stream, [own](Hands& hands) {
    kernels::AttentionCachedArgs mine = own;
    mine.scratch = room(
        hands, kernels::attention_cached_scratch(own.shape, own.cache.capacity, {.threads = 1}),
        own.scratch);
    kernels::attention_cached(mine, hands.cpu);
  });
}

void rms_norm(const kernels::RmsNormArgs& args, StreamRef stream) {
  put(stream,
      [own = kernels::RmsNormArgs{real(args.in), real(args.gain), real(args.out), real(args.rstd),
                                  args.eps}](Hands& hands) { kernels::rms_norm(own, hands.cpu); });
}

void rms_norm_backward(const kernels::RmsNormBackwardArgs& args, StreamRef stream) {
  kernels::RmsNormBackwardArgs own = args;
  for (View* view :
       {&own.in, &own.d_out, &own.gain, &own.rstd, &own.residual, &own.d_in, &own.d_gain.to})
    *view = real(*view);
  put(stream, [own](Hands& hands) {
    kernels::RmsNormBackwardArgs mine = own;
    const auto [rows, cols] = own.in.shape;
    mine.scratch =
        room(hands, kernels::rms_norm_backward_scratch(rows, cols, {.threads = 1}), own.scratch);
    kernels::rms_norm_backward(mine, hands.cpu);
  });
}

void rotary(const kernels::RotaryArgs& args, StreamRef stream) {
  kernels::RotaryArgs own = args;
  for (View* view : {&own.in, &own.out, &own.q_gain, &own.k_gain, &own.rstd}) *view = real(*view);
  put(stream, [own](Hands& hands) {
    kernels::RotaryArgs mine = own;
    mine.scratch = room(hands, kernels::rotary_scratch(own.shape, {.threads = 1}), own.scratch);
    kernels::rotary(mine, hands.cpu);
  });
}

void rotary_backward(const kernels::RotaryBackwardArgs& args, StreamRef stream) {
  kernels::RotaryBackwardArgs own = args;
  for (View* view : {&own.d_out, &own.d_in, &own.in, &own.q_gain, &own.k_gain, &own.rstd,
                     &own.d_q_gain.to, &own.d_k_gain.to})
    *view = real(*view);
  put(stream, [own](Hands& hands) {
    kernels::RotaryBackwardArgs mine = own;
    mine.scratch =
        room(hands, kernels::rotary_backward_scratch(own.shape, {.threads = 1}), own.scratch);
    kernels::rotary_backward(mine, hands.cpu);
  });
}

void swiglu(View gate_up, View out, StreamRef stream) {
  put(stream, [gate_up = real(gate_up), out = real(out)](Hands& hands) {
    kernels::swiglu(gate_up, out, hands.cpu);
  });
}

void swiglu_backward(View gate_up, View d_out, View d_gate_up, StreamRef stream) {
  put(stream,
      [gate_up = real(gate_up), d_out = real(d_out), d_gate_up = real(d_gate_up)](Hands& hands) {
        kernels::swiglu_backward(gate_up, d_out, d_gate_up, hands.cpu);
      });
}

}  // namespace sherd::emulator
