// The arithmetic that cuts work into blocks and threads, against walking through it.
#include "kernels/launch.hpp"

#include <doctest/doctest.h>

#include <vector>

namespace sherd::cuda {
namespace {

// How often each element is met when every thread of a grid takes pack `index` of [0, numel).
std::vector<int> met_by_packs(const Launch& grid, std::int64_t numel) {
  std::vector<int> met(static_cast<std::size_t>(numel), 0);
  const std::int64_t threads = std::int64_t{grid.blocks} * grid.threads;
  for (std::int64_t index = 0; index < threads; ++index) {
    const std::int64_t at = index * pack;
    if (at >= numel) continue;
    for (int i = 0; i < elements_at(index, numel); ++i) ++met[static_cast<std::size_t>(at + i)];
  }
  return met;
}

View at_address(std::uintptr_t address, Shape shape, DType type, std::int64_t pitch = 0) {
  return {reinterpret_cast<std::byte*>(address), shape, type, pitch};
}

}  // namespace

TEST_CASE("a grid over packs meets every element once and wastes less than a block") {
  for (const std::int64_t numel : {1, 7, 8, 9, 255, 2047, 2048, 2049, 5000, 100003}) {
    for (const unsigned threads : {32u, 128u, 256u}) {
      CAPTURE(numel);
      const Launch grid = over_packs(numel, threads);
      CHECK(met_by_packs(grid, numel) == std::vector<int>(static_cast<std::size_t>(numel), 1));
      CHECK(std::int64_t{grid.blocks - 1} * threads * pack < numel);
    }
  }
}

TEST_CASE("a grid over two to the forty elements fits the limits of a device") {
  const std::int64_t numel = std::int64_t{1} << 40;
  const Launch grid = over_packs(numel);
  CHECK(grid.blocks <= 0x7fffffffu);
  CHECK(std::int64_t{grid.blocks} * grid.threads * pack >= numel);
  CHECK(elements_at(numel / pack - 1, numel) == pack);
}

TEST_CASE("a resident grid covers its units with strides and never exceeds what stays resident") {
  for (const std::int64_t units : {1, 31, 256, 257, 100000, 1 << 22}) {
    CAPTURE(units);
    const Launch grid = resident(units, 256, 132, 4);
    CHECK(grid.blocks >= 1);
    CHECK(grid.blocks <= 132 * 4);
    const std::int64_t threads = std::int64_t{grid.blocks} * grid.threads;
    std::int64_t met = 0;
    for (std::int64_t first = 0; first < threads; ++first) {
      if (first < units) met += (units - 1 - first) / threads + 1;
    }
    CHECK(met == units);
    CHECK(std::int64_t{grid.blocks - 1} * grid.threads < units);
  }
}

TEST_CASE("wide accesses ask for an aligned start and, over several rows, an aligned pitch") {
  CHECK(takes_wide_accesses(at_address(256, {1, 13}, DType::bf16)));
  CHECK(!takes_wide_accesses(at_address(258, {1, 16}, DType::bf16)));
  CHECK(takes_wide_accesses(at_address(256, {5, 16}, DType::bf16)));
  CHECK(!takes_wide_accesses(at_address(256, {5, 12}, DType::bf16)));
  CHECK(takes_wide_accesses(at_address(256, {5, 12}, DType::f32)));
  CHECK(!takes_wide_accesses(at_address(256, {5, 50257}, DType::f32)));
  CHECK(takes_wide_accesses(at_address(256, {5, 50257}, DType::f32, 50304)));
}

TEST_CASE("a layer norm's row shape holds every column of the row in registers or holds none") {
  for (std::int64_t cols = 1; cols <= 40000; cols += 7) {
    const auto [warps, packs] = row_shape(cols);
    const std::int64_t held = std::int64_t{packs} * warps * warp * pack;
    CHECK((held >= cols || packs == 0));
    if (packs == 0) CHECK(cols > 16384);
  }
  CHECK(row_shape(768).warps == 1);
  CHECK(row_shape(1600).packs == 8);
}

TEST_CASE("the parts of a layer norm's column sums meet every row once") {
  const std::int64_t most = kernels::device_scratch::norm_parts;
  for (std::int64_t rows = 0; rows <= 3000; rows = rows * 5 / 4 + 1) {
    CAPTURE(rows);
    const std::int64_t parts = norm_parts_of(rows);
    CHECK(parts <= most);
    std::vector<int> met(static_cast<std::size_t>(rows), 0);
    for (std::int64_t part = 0; part < parts; ++part) {
      CHECK(part * norm_group < rows);  // no part is empty: each writes its partial sums
      for (std::int64_t first = part * norm_group; first < rows; first += parts * norm_group) {
        for (std::int64_t row = first; row < std::min(first + norm_group, rows); ++row) {
          ++met[static_cast<std::size_t>(row)];
        }
      }
    }
    CHECK(met == std::vector<int>(static_cast<std::size_t>(rows), 1));
  }
}

TEST_CASE(
    "the threads of a layer norm's backward hold a row in whole warps, or say it is too long") {
  for (std::int64_t cols = 1; cols <= 9000; cols += 3) {
    const unsigned threads = norm_backward_threads(cols);
    CHECK(threads % warp == 0);
    if (threads == 0) {
      CHECK(cols > 4096);
    } else {
      CHECK(threads * pack >= cols);
      CHECK(threads <= 512);
    }
  }
}

TEST_CASE("Blocks that lie within a row cover it once, in whole warps") {
  for (const std::int64_t cols : {1, 8, 9, 256, 257, 2048, 2049, 4864, 14336, 100003}) {
    const RowBlocks cut = row_blocks(cols);
    CAPTURE(cols);
    CHECK(cut.threads % warp == 0);
    CHECK(cut.threads <= 256);
    const std::int64_t reach = std::int64_t{cut.each_row} * cut.threads * pack;
    CHECK(reach >= cols);
    CHECK(reach - cols < std::int64_t{cut.each_row} * warp * pack);
    CHECK((cut.each_row - 1) * std::int64_t{cut.threads} * pack < cols);
  }
}

}  // namespace sherd::cuda
