#include <cmath>

#include "kernels/cpu/attention.hpp"
#include "kernels/cpu/attention_tiles.hpp"

namespace sherd::kernels::cpu {
namespace {

struct Room {
  explicit Room(const AttentionShape& shape, float* begin = nullptr) : carver(begin) {
    scores = carver.take(attention_tile * attention_tile);
    maximum = carver.take(attention_tile);
    sum = carver.take(attention_tile);
    for (float** strip : {&out, &q, &k, &v}) *strip = carver.take(tile_floats(shape));
  }
  Carver carver;
  float *scores, *maximum, *sum, *out, *q, *k, *v;
};

/// One tile of queries of one head against all keys it may see, in order.
class QueryTile {
 public:
  QueryTile(const AttentionArgs& args, const Room& room, HeadPlace place, std::int64_t tile)
      : args_(args), shape_(args.shape), room_(room), place_(place), index_(tile) {}

  void run() {
    const Source qkv = source(args_.qkv).at(place_.first_row, 0);
    const Strip q = strip(qkv.at(0, place_.col), tiles_.first(index_), block(index_), room_.q);
    const RunningRows state{room_.maximum, room_.sum, room_.out, shape_.head_dim,
                            tile_stride(shape_)};
    for (std::int64_t j = 0; j <= index_; ++j) {
      const std::int64_t first = tiles_.first(j);
      const Strip k = strip(qkv.at(0, place_.key_col), first, block(j), room_.k);
      gemm({.m = q.count,
            .n = k.count,
            .k = shape_.head_dim,
            .a = q.operand(),
            .b = k.operand(Transpose::yes),
            .c = room_.scores,
            .c_stride = attention_tile,
            .alpha = scale_});
      fold_scores({room_.scores, q.count, k.count, j == index_}, state, j == 0);
      const Strip v = strip(qkv.at(0, place_.value_col), first, block(j), room_.v);
      gemm({.m = q.count,
            .n = shape_.head_dim,
            .k = v.count,
            .a = {room_.scores, attention_tile, Transpose::no},
            .b = v.operand(),
            .c = room_.out,
            .c_stride = state.out_stride,
            .beta = j == 0 ? 0.0f : 1.0f});
    }
    finish(state);
  }

 private:
  [[nodiscard]] Shape block(std::int64_t tile) const {
    return {tiles_.rows(tile), shape_.head_dim};
  }
  void finish(const RunningRows& state) const {
    const std::int64_t first = tiles_.first(index_), rows = tiles_.rows(index_);
    float* lse = args_.lse.as<float>() +
                 (place_.sequence * shape_.heads + place_.head) * shape_.length + first;
    for (std::int64_t r = 0; r < rows; ++r) {
      lse[r] = state.maximum[r] + std::log(state.sum[r]);
      const float share = 1 / state.sum[r];
      float* out = state.out + r * state.out_stride;
      for (std::int64_t c = 0; c < shape_.head_dim; ++c) out[c] *= share;
    }
    narrow(state.out, state.out_stride, {rows, shape_.head_dim},
           sink(args_.out).at(place_.first_row + first, place_.col));
  }

  const AttentionArgs& args_;
  const AttentionShape& shape_;
  const Room& room_;
  HeadPlace place_;
  std::int64_t index_;
  Tiles tiles_{shape_.length};
  float scale_ = 1 / std::sqrt(static_cast<float>(shape_.head_dim));
};

}  // namespace

std::int64_t forward_floats(const AttentionShape& shape) { return Room(shape).carver.used(); }

void attention(const AttentionArgs& args, StreamRef stream) {
  const AttentionShape& shape = args.shape;
  const std::int64_t tiles = Tiles{shape.length}.count();
  const std::int64_t tasks = shape.sequences * shape.heads * tiles;
  stream.workers().run(tasks, [&](std::int64_t index, int worker) {
    const Room room(shape, args.scratch.as<float>() + worker * forward_floats(shape));
    // Longest rows first, so that the last tasks to finish are short.
    const std::int64_t heads = shape.sequences * shape.heads;
    const HeadPlace place = head_place(shape, index % heads);
    QueryTile(args, room, place, tiles - 1 - index / heads).run();
  });
}

}  // namespace sherd::kernels::cpu
