// Twins that run the CPU's function as it is.
#include "support/emulator/twins.hpp"

#include <optional>
#include <vector>

namespace sherd::emulator {
namespace {

std::optional<Philox> kept(const Philox* bits) {
  return bits == nullptr ? std::nullopt : std::optional(*bits);
}
const Philox* address(const std::optional<Philox>& bits) { return bits ? &*bits : nullptr; }

void squared_error(const kernels::SquaredErrorArgs& args, StreamRef stream) {
  put(stream, [own = kernels::SquaredErrorArgs{real(args.out), real(args.target), real(args.d_out),
                                               real(args.scale), args.nominal, real(args.sums)}](
                  Hands& hands) { kernels::squared_error(own, hands.cpu); });
}
void gelu(View in, View out, StreamRef stream) {
  put(stream,
      [in = real(in), out = real(out)](Hands& hands) { kernels::gelu(in, out, hands.cpu); });
}
void gelu_backward(View in, View d_out, View d_in, StreamRef stream) {
  put(stream, [in = real(in), d_out = real(d_out), d_in = real(d_in)](Hands& hands) {
    kernels::gelu_backward(in, d_out, d_in, hands.cpu);
  });
}
void add(View a, View b, View out, StreamRef stream) {
  put(stream, [a = real(a), b = real(b), out = real(out)](Hands& hands) {
    kernels::add(a, b, out, hands.cpu);
  });
}
void dropout(const kernels::DropoutArgs& args, StreamRef stream) {
  put(stream,
      [own = kernels::DropoutArgs{real(args.branch), real(args.residual), real(args.out), args.p,
                                  args.rng}](Hands& hands) { kernels::dropout(own, hands.cpu); });
}
void cast(View in, View out, StreamRef stream, const Philox* round) {
  put(stream, [in = real(in), out = real(out), bits = kept(round)](Hands& hands) {
    kernels::cast(in, out, hands.cpu, address(bits));
  });
}
void scale(View x, float factor, StreamRef stream) {
  put(stream, [x = real(x), factor](Hands& hands) { kernels::scale(x, factor, hands.cpu); });
}
void zero(std::span<std::byte> bytes, StreamRef stream) {
  if (bytes.empty()) return;
  std::byte* at = Memory::of_process().real(bytes.data(), bytes.size());
  put(stream, [at, size = bytes.size()](Hands& hands) { kernels::zero({at, size}, hands.cpu); });
}
void accumulate(View value, const Grad& to, StreamRef stream) {
  put(stream, [value = real(value), to = real(to)](Hands& hands) {
    kernels::accumulate(value, to, hands.cpu);
  });
}
void fill_normal(View x, std::uint64_t first, float mean, float stddev, Philox rng,
                 StreamRef stream) {
  put(stream, [x = real(x), first, mean, stddev, rng](Hands& hands) {
    kernels::fill_normal(x, first, mean, stddev, rng, hands.cpu);
  });
}
void embedding(const kernels::EmbeddingArgs& args, StreamRef stream) {
  put(stream, [own = kernels::EmbeddingArgs{real(args.tokens), real(args.table),
                                            real(args.positions), real(args.out)}](Hands& hands) {
    kernels::embedding(own, hands.cpu);
  });
}
void layer_norm(const kernels::LayerNormArgs& args, StreamRef stream) {
  kernels::LayerNormArgs own = args;
  for (View* view : {&own.in, &own.gamma, &own.beta, &own.out, &own.mean, &own.rstd})
    *view = real(*view);
  put(stream, [own](Hands& hands) { kernels::layer_norm(own, hands.cpu); });
}
void square_norm(View x, kernels::NormSum& sum, StreamRef stream) {
  put(stream,
      [x = real(x), at = real(&sum)](Hands& hands) { kernels::square_norm(x, *at, hands.cpu); });
}
void fold(const kernels::FoldArgs& args, StreamRef stream) {
  std::vector<const std::byte*> sources;
  for (const std::byte* source : args.sources) {
    sources.push_back(args.out.numel() == 0 ? source
                                            : Memory::of_process().real(source, args.out.bytes()));
  }
  put(stream, [own = args, out = real(args.out), sources = std::move(sources),
               bits = kept(args.round)](Hands& hands) {
    kernels::FoldArgs mine = own;
    mine.sources = sources;
    mine.out = out;
    mine.round = address(bits);
    kernels::fold(mine, hands.cpu);
  });
}

template <void (*update)(const kernels::UpdateArgs&, StreamRef)>
void updated(const kernels::UpdateArgs& args, StreamRef stream) {
  kernels::UpdateArgs own = args;
  for (View* view : {&own.grad, &own.master, &own.m, &own.v, &own.param}) *view = real(*view);
  own.scalars = real(args.scalars);
  put(stream, [own](Hands& hands) { update(own, hands.cpu); });
}

void decode_blocks(View blocks, View out, StreamRef stream) {
  put(stream, [blocks = real(blocks), out = real(out)](Hands& hands) {
    kernels::decode_blocks(blocks, out, hands.cpu);
  });
}

std::string path(DType operands) {
  return "emulated, " + std::string(kernels::matmul_path(operands));
}

}  // namespace

const kernels::Interface& twins() {
  static constexpr kernels::Interface table{.attention = attention,
                                            .attention_backward = attention_backward,
                                            .cache_append = cache_append,
                                            .attention_cached = attention_cached,
                                            .cross_entropy = cross_entropy,
                                            .squared_error = squared_error,
                                            .gelu = gelu,
                                            .gelu_backward = gelu_backward,
                                            .add = add,
                                            .dropout = dropout,
                                            .cast = cast,
                                            .scale = scale,
                                            .zero = zero,
                                            .accumulate = accumulate,
                                            .fill_normal = fill_normal,
                                            .embedding = embedding,
                                            .embedding_backward = embedding_backward,
                                            .matmul = matmul,
                                            .bias_gradient = bias_gradient,
                                            .layer_norm = layer_norm,
                                            .layer_norm_backward = layer_norm_backward,
                                            .rms_norm = rms_norm,
                                            .rms_norm_backward = rms_norm_backward,
                                            .rotary = rotary,
                                            .rotary_backward = rotary_backward,
                                            .swiglu = swiglu,
                                            .swiglu_backward = swiglu_backward,
                                            .square_norm = square_norm,
                                            .fold = fold,
                                            .adamw = updated<kernels::adamw>,
                                            .lion = updated<kernels::lion>,
                                            .sgd = updated<kernels::sgd>,
                                            .decode_blocks = decode_blocks,
                                            .path = path,
                                            .best_product = best_product};
  return table;
}

}  // namespace sherd::emulator
