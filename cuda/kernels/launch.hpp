#pragma once
// How work is cut into blocks and threads: plain arithmetic, so that a host can test it.
#include <algorithm>
#include <cstdint>

#include "sherd/base/view.hpp"
#include "sherd/kernels/device_scratch.hpp"

namespace sherd::cuda {

/// Elements that a thread takes at once: one or two accesses of 16 bytes for each operand.
inline constexpr int pack = 8;
inline constexpr std::uintptr_t access_bytes = 16;
inline constexpr unsigned warp = 32;

[[nodiscard]] constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

struct Launch {
  unsigned blocks = 0, threads = 1;
};
/// Blocks that cover `units`, one thread each. A grid holds 2^31 - 1 blocks.
[[nodiscard]] constexpr Launch one_thread_each(std::int64_t units, unsigned threads) {
  return {static_cast<unsigned>(ceil_div(units, threads)), threads};
}
/// One thread for each pack of [0, numel).
[[nodiscard]] constexpr Launch over_packs(std::int64_t numel, unsigned threads = 256) {
  return one_thread_each(ceil_div(numel, pack), threads);
}
/// As many blocks as stay resident, each striding over its share of `units`.
[[nodiscard]] constexpr Launch resident(std::int64_t units, unsigned threads, int multiprocessors,
                                        int blocks_each) {
  const std::int64_t most = std::int64_t{multiprocessors} * blocks_each;
  return {static_cast<unsigned>(std::min(ceil_div(units, threads), most)), threads};
}

/// Elements of pack `index` inside [0, numel): 1 to 8.
[[nodiscard]] constexpr int elements_at(std::int64_t index, std::int64_t numel) {
  const std::int64_t left = numel - index * pack;
  return static_cast<int>(left < pack ? left : pack);
}

/// May whole packs of every row be read with 16-byte accesses?
[[nodiscard]] inline bool takes_wide_accesses(const View& view) {
  const bool rows_aligned =
      view.shape.rows <= 1 ||
      static_cast<Bytes>(view.row_pitch()) * size_of(view.type) % access_bytes == 0;
  return reinterpret_cast<std::uintptr_t>(view.data) % access_bytes == 0 && rows_aligned;
}

// --- rows -------------------------------------------------------------------------------------

/// How a row of a layer norm is held: by `warps` warps, `packs` packs a thread in registers; none
/// are held where a row is longer than that.
struct RowShape {
  int warps = 1, packs = 0;
};
[[nodiscard]] constexpr RowShape row_shape(std::int64_t cols) {
  if (cols <= 4 * warp * pack) return {1, 4};
  if (cols <= 8 * warp * pack) return {1, 8};
  if (cols <= 8 * 8 * warp * pack) return {8, 8};
  return {8, 0};
}

/// Blocks that each lie within one row, a pack a thread: `each_row` of them.
struct RowBlocks {
  unsigned each_row = 1, threads = warp;
};
[[nodiscard]] constexpr RowBlocks row_blocks(std::int64_t cols, unsigned most_threads = 256) {
  const std::int64_t packs = ceil_div(cols, pack), blocks = ceil_div(packs, most_threads);
  const std::int64_t warps = ceil_div(ceil_div(packs, blocks), warp);
  return {static_cast<unsigned>(blocks), static_cast<unsigned>(warps * warp)};
}

/// Rows that a block of layer norm's backward takes together, so that their loads overlap.
inline constexpr int norm_group = 2;
/// Partial column sums of `rows` rows: part p takes the groups p, p + parts, p + 2·parts, …
[[nodiscard]] constexpr std::int64_t norm_parts_of(std::int64_t rows) {
  return std::min(ceil_div(rows, norm_group), kernels::device_scratch::norm_parts);
}
/// Threads that hold a row of layer norm's backward, one pack each; 0: the row is too long.
[[nodiscard]] constexpr unsigned norm_backward_threads(std::int64_t cols) {
  const std::int64_t threads = ceil_div(ceil_div(cols, pack), warp) * warp;
  return threads <= 512 ? static_cast<unsigned>(threads) : 0;
}

}  // namespace sherd::cuda
