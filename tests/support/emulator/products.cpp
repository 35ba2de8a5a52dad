// Twins whose CPU body wants contiguous rows, or scratch of its own size.
#include <chrono>
#include <cstring>
#include <optional>

#include "support/emulator/twins.hpp"

namespace sherd::emulator {
namespace {

bool is_contiguous(const View& view) { return view.row_pitch() == view.shape.cols; }

void copy_rows(const View& from, const View& to) {
  for (std::int64_t row = 0; row < from.shape.rows; ++row) {
    std::memcpy(to.rows(row, 1).data, from.rows(row, 1).data,
                static_cast<Bytes>(from.shape.cols) * size_of(from.type));
  }
}

// The view itself where its rows touch; otherwise a copy of it.
View staged(Hands& hands, View view) {
  if (!view) return view;
  View flat = view;
  flat.pitch = 0;
  if (is_contiguous(view)) return flat;
  flat.data = hands.room(flat.bytes());
  copy_rows(view, flat);
  return flat;
}

}  // namespace

void matmul(const kernels::MatmulArgs& args, StreamRef stream) {
  kernels::MatmulArgs own = args;
  for (View* view : {&own.a, &own.b, &own.out, &own.bias, &own.before_gelu, &own.gelu_of})
    *view = real(*view);
  const std::optional<Philox> round =
      args.round == nullptr ? std::nullopt : std::optional(*args.round);
  put(stream, [own, round](Hands& hands) {
    kernels::MatmulArgs flat = own;
    for (View* view : {&flat.a, &flat.b, &flat.out, &flat.before_gelu, &flat.gelu_of})
      *view = staged(hands, *view);
    flat.round = round ? &*round : nullptr;
    const std::int64_t k =
        own.transpose_a == kernels::Transpose::yes ? own.a.shape.rows : own.a.shape.cols;
    const DType operands = own.a.type == DType::f32 ? own.b.type : own.a.type;
    const Bytes need = kernels::matmul_scratch(own.out.shape.rows, own.out.shape.cols, k, operands,
                                               own.out.type, {.threads = 1});
    flat.scratch = room(hands, need, own.scratch);
    kernels::matmul(flat, hands.cpu);
    if (!is_contiguous(own.out)) copy_rows(flat.out, own.out);
    if (own.before_gelu && !is_contiguous(own.before_gelu))
      copy_rows(flat.before_gelu, own.before_gelu);
  });
}

// There is one algorithm here: the product itself.
double best_product(const kernels::MatmulArgs& args, StreamRef stream, int rounds) {
  using Clock = std::chrono::steady_clock;
  kernels::MatmulArgs bare = args;
  bare.bias = bare.before_gelu = bare.gelu_of = {};
  bare.round = nullptr;
  double best = 0;
  for (int round = 0; round < rounds; ++round) {
    stream.queue().drain();
    const Clock::time_point start = Clock::now();
    emulator::matmul(bare, stream);
    stream.queue().drain();
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    if (round == 0 || seconds < best) best = seconds;
  }
  return best;
}

void bias_gradient(const kernels::BiasGradientArgs& args, StreamRef stream) {
  put(stream, [own = kernels::BiasGradientArgs{real(args.d_out), real(args.to), args.scratch}](
                  Hands& hands) {
    const View scratch = room(hands, 0, own.scratch);
    kernels::bias_gradient({staged(hands, own.d_out), own.to, scratch}, hands.cpu);
  });
}

void cross_entropy(const kernels::CrossEntropyArgs& args, StreamRef stream) {
  kernels::CrossEntropyArgs own = args;
  own.logits = real(args.logits);
  own.labels = real(args.labels);
  own.scale = real(args.scale);
  own.sums = real(args.sums);
  own.d_logits = real(args.d_logits);
  put(stream, [own](Hands& hands) {
    kernels::CrossEntropyArgs flat = own;
    flat.logits = staged(hands, own.logits);
    flat.d_logits = {};
    kernels::cross_entropy(flat, hands.cpu);
    if (own.scale == nullptr) return;
    if (!own.d_logits) {
      if (!is_contiguous(own.logits)) copy_rows(flat.logits, own.logits);
      return;
    }
    View narrow{hands.room(static_cast<Bytes>(own.d_logits.numel()) * size_of(own.d_logits.type)),
                own.d_logits.shape, own.d_logits.type};
    kernels::cast(flat.logits, narrow, hands.cpu);
    copy_rows(narrow, own.d_logits);
  });
}

void attention(const kernels::AttentionArgs& args, StreamRef stream) {
  const kernels::AttentionArgs own{args.shape, real(args.qkv), real(args.out), real(args.lse),
                                   args.scratch};
  put(stream, [own](Hands& hands) {
    kernels::AttentionArgs mine = own;
    mine.scratch = room(hands, kernels::attention_scratch(own.shape, {.threads = 1}), own.scratch);
    kernels::attention(mine, hands.cpu);
  });
}

void attention_backward(const kernels::AttentionBackwardArgs& args, StreamRef stream) {
  kernels::AttentionBackwardArgs own = args;
  for (View* view : {&own.qkv, &own.out, &own.lse, &own.d_out, &own.d_qkv}) *view = real(*view);
  put(stream, [own](Hands& hands) {
    kernels::AttentionBackwardArgs mine = own;
    mine.scratch =
        room(hands, kernels::attention_backward_scratch(own.shape, {.threads = 1}), own.scratch);
    kernels::attention_backward(mine, hands.cpu);
  });
}

void layer_norm_backward(const kernels::LayerNormBackwardArgs& args, StreamRef stream) {
  kernels::LayerNormBackwardArgs own = args;
  for (View* view : {&own.in, &own.d_out, &own.gamma, &own.mean, &own.rstd, &own.residual,
                     &own.d_in, &own.d_gamma.to, &own.d_beta.to})
    *view = real(*view);
  put(stream, [own](Hands& hands) {
    kernels::LayerNormBackwardArgs mine = own;
    const auto [rows, cols] = own.in.shape;
    mine.scratch =
        room(hands, kernels::layer_norm_backward_scratch(rows, cols, {.threads = 1}), own.scratch);
    kernels::layer_norm_backward(mine, hands.cpu);
  });
}

void embedding_backward(const kernels::EmbeddingBackwardArgs& args, StreamRef stream) {
  kernels::EmbeddingBackwardArgs own = args;
  for (View* view : {&own.tokens, &own.d_out, &own.d_table.to, &own.d_positions.to})
    *view = real(*view);
  put(stream, [own](Hands& hands) {
    kernels::EmbeddingBackwardArgs mine = own;
    const Shape table = own.d_table.to.shape;
    mine.scratch = room(hands,
                        kernels::embedding_backward_scratch(own.tokens.shape, table.rows,
                                                            own.d_out.shape.cols, {.threads = 1}),
                        own.scratch);
    kernels::embedding_backward(mine, hands.cpu);
  });
}

}  // namespace sherd::emulator
