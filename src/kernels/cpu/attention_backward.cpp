#include <cmath>

#include "kernels/cpu/attention.hpp"
#include "kernels/cpu/attention_tiles.hpp"

namespace sherd::kernels::cpu {
namespace {

struct Room {
  explicit Room(const AttentionShape& shape, float* begin = nullptr) : carver(begin) {
    scores = carver.take(attention_tile * attention_tile);
    d_scores = carver.take(attention_tile * attention_tile);
    delta = carver.take(shape.length);
    for (float** strip : {&q, &k, &v, &d_out, &d_k, &d_v}) {
      *strip = carver.take(tile_floats(shape));
    }
    d_q = carver.take(shape.length * tile_stride(shape));
  }
  Carver carver;
  float *scores, *d_scores, *delta, *q, *k, *v, *d_out, *d_k, *d_v, *d_q;
};

/// One head: keys in the outer loop, queries in the inner one, always in this order.
/// **Source** Dao et al. 2022, Algorithm 4, with d_q of the whole head kept in fp32.
class Head {
 public:
  /// `own`: where d_k and d_v of this head wait for the rest of its group; null: it has no group.
  Head(const AttentionBackwardArgs& args, const Room& room, HeadPlace place, float* own)
      : args_(args), shape_(args.shape), room_(room), place_(place), own_(own) {}

  void run() {
    fill_delta();
    for (std::int64_t j = 0; j < tiles_.count(); ++j) keys(j);
    store(room_.d_q, {shape_.length, shape_.head_dim}, 0, place_.col);
  }

 private:
  [[nodiscard]] Shape block(std::int64_t tile) const {
    return {tiles_.rows(tile), shape_.head_dim};
  }
  // Of the head whose q, k or v begins at `col`.
  [[nodiscard]] Strip input(std::int64_t col, std::int64_t tile, float* room) const {
    const Source head = source(args_.qkv).at(place_.first_row, col);
    return strip(head, tiles_.first(tile), block(tile), room);
  }
  [[nodiscard]] Strip d_out(std::int64_t tile) const {
    const Source head = source(args_.d_out).at(place_.first_row, place_.col);
    return strip(head, tiles_.first(tile), block(tile), room_.d_out);
  }
  void store(const float* from, Shape rows, std::int64_t first, std::int64_t col) const {
    narrow(from, stride_, rows, sink(args_.d_qkv).at(place_.first_row + first, col));
  }

  // delta = rowsum(d_out ∘ out), which is rowsum(p ∘ d_p) without p.
  void fill_delta() const {
    const std::int64_t row = place_.first_row;
    for (std::int64_t i = 0; i < tiles_.count(); ++i) {
      const std::int64_t first = row + tiles_.first(i);
      widen(source(args_.out).at(first, place_.col), block(i), room_.q, stride_);
      widen(source(args_.d_out).at(first, place_.col), block(i), room_.d_out, stride_);
      row_dots(room_.q, room_.d_out, block(i), stride_, room_.delta + tiles_.first(i));
    }
  }

  void keys(std::int64_t j) const {
    const Strip k = input(place_.key_col, j, room_.k), v = input(place_.value_col, j, room_.v);
    float* d_k = own_ == nullptr ? room_.d_k : own_ + tiles_.first(j) * stride_;
    float* d_v = own_ == nullptr ? room_.d_v : d_k + shape_.length * stride_;
    for (std::int64_t i = j; i < tiles_.count(); ++i) {
      const Strip q = input(place_.col, i, room_.q), out = d_out(i);
      score_tiles(i, j, {q, k, v, out});
      // d_v += pᵀ·d_out, d_k += d_sᵀ·q, d_q += d_s·k; the first term sets.
      const float beta = i == j ? 0.0f : 1.0f;
      accumulate({.m = v.count,
                  .k = out.count,
                  .a = square(room_.scores, Transpose::yes),
                  .b = out.operand(),
                  .c = d_v,
                  .beta = beta});
      accumulate({.m = k.count,
                  .k = q.count,
                  .a = square(room_.d_scores, Transpose::yes),
                  .b = q.operand(),
                  .c = d_k,
                  .beta = beta});
      accumulate({.m = q.count,
                  .k = k.count,
                  .a = square(room_.d_scores, Transpose::no),
                  .b = k.operand(),
                  .c = room_.d_q + tiles_.first(i) * stride_,
                  .beta = j == 0 ? 0.0f : 1.0f});
    }
    if (own_ != nullptr) return;
    store(d_k, block(j), tiles_.first(j), place_.key_col);
    store(d_v, block(j), tiles_.first(j), place_.value_col);
  }

  struct Strips {
    Strip q, k, v, d_out;
  };
  // Leaves p in scores and its gradient, already scaled, in d_scores.
  void score_tiles(std::int64_t i, std::int64_t j, const Strips& s) const {
    Gemm product{.m = s.q.count,
                 .n = s.k.count,
                 .k = shape_.head_dim,
                 .a = s.q.operand(),
                 .b = s.k.operand(Transpose::yes),
                 .c = room_.scores,
                 .c_stride = attention_tile,
                 .alpha = scale_};
    gemm(product);
    product.a = s.d_out.operand();
    product.b = s.v.operand(Transpose::yes);
    product.c = room_.d_scores;
    product.alpha = 1;
    gemm(product);
    const float* lse =
        args_.lse.as<float>() + (place_.sequence * shape_.heads + place_.head) * shape_.length;
    score_gradient({room_.scores, s.q.count, s.k.count, i == j},
                   {room_.d_scores, lse + tiles_.first(i), room_.delta + tiles_.first(i), scale_});
  }

  [[nodiscard]] static Operand square(const float* tile, Transpose transpose) {
    return {tile, attention_tile, transpose};
  }
  void accumulate(Gemm product) const {
    product.n = shape_.head_dim;
    product.c_stride = stride_;
    gemm(product);
  }

  const AttentionBackwardArgs& args_;
  const AttentionShape& shape_;
  const Room& room_;
  HeadPlace place_;
  float* own_;
  Tiles tiles_{shape_.length};
  std::int64_t stride_ = tile_stride(shape_);
  float scale_ = 1 / std::sqrt(static_cast<float>(shape_.head_dim));
};

/// Heads that share keys leave d_k and d_v beside each other; whole groups are taken in rounds, as
/// many at once as keep all workers busy.
struct Groups {
  std::int64_t group, all, each_round;  // heads of a group, groups, groups of a round
  std::int64_t own;                     // floats of one head: d_k | d_v

  Groups(const AttentionShape& shape, int threads)
      : group(shape.group()),
        all(shape.sequences * shape.key_heads()),
        each_round(std::min(all, (2 * threads + group - 1) / group)),
        own(2 * shape.length * tile_stride(shape)) {}
};

/// Adds the heads of a group, in order, and stores one tile of their d_k and d_v.
void sum_group(const AttentionBackwardArgs& args, const Groups& groups, HeadPlace first,
               std::int64_t tile, float* own) {
  const AttentionShape& shape = args.shape;
  const Tiles tiles{shape.length};
  const std::int64_t stride = tile_stride(shape), rows = tiles.rows(tile);
  const Sink row = sink(args.d_qkv).at(first.first_row + tiles.first(tile), 0);
  float* sum = own + tiles.first(tile) * stride;
  for (const std::int64_t col : {first.key_col, first.value_col}) {
    for (std::int64_t head = 1; head < groups.group; ++head) {
      const auto* other = reinterpret_cast<const std::byte*>(sum + head * groups.own);
      add_widened({other, DType::f32, stride}, sum, rows * stride);
    }
    narrow(sum, stride, {rows, shape.head_dim}, row.at(0, col));
    sum += shape.length * stride;
  }
}

}  // namespace

std::int64_t backward_floats(const AttentionShape& shape) { return Room(shape).carver.used(); }

std::int64_t shared_floats(const AttentionShape& shape, int threads) {
  const Groups groups(shape, threads);
  return groups.group == 1 ? 0 : groups.each_round * groups.group * groups.own;
}

void attention_backward(const AttentionBackwardArgs& args, StreamRef stream) {
  const AttentionShape& shape = args.shape;
  const int threads = stream.workers().threads();
  const auto each_head = [&](std::int64_t first, std::int64_t count, float* own,
                             std::int64_t step) {
    stream.workers().run(count, [&](std::int64_t index, int worker) {
      const Room room(shape, args.scratch.as<float>() + worker * backward_floats(shape));
      float* mine = own == nullptr ? nullptr : own + index * step;
      Head(args, room, head_place(shape, first + index), mine).run();
    });
  };
  const Groups groups(shape, threads);
  if (groups.group == 1) return each_head(0, groups.all, nullptr, 0);
  float* own = args.scratch.as<float>() + threads * backward_floats(shape);
  const std::int64_t tiles = Tiles{shape.length}.count();
  for (std::int64_t first = 0; first < groups.all; first += groups.each_round) {
    const std::int64_t count = std::min(groups.each_round, groups.all - first);
    each_head(first * groups.group, count * groups.group, own, groups.own);
    stream.workers().run(count * tiles, [&](std::int64_t index, int) {
      const std::int64_t group = index / tiles;
      sum_group(args, groups, head_place(shape, (first + group) * groups.group), index % tiles,
                own + group * groups.group * groups.own);
    });
  }
}

}  // namespace sherd::kernels::cpu
