#pragma once
// A kernel ready to be timed, and the two bounds it can be held against.
#include <atomic>
#include <cmath>

#include "bench/buffers.hpp"
#include "sherd/bench/rows.hpp"

namespace sherd::bench {

struct Case {
  std::string name;
  Pass pass;
  Work unit = Work::bytes;
  double work = 0;
  std::int64_t wrong = 0;
  std::vector<Extra> extra;
};

/// A copy of as many bytes, in the same rounds.
[[nodiscard]] Row against_copy(const Case& what, int rounds, StreamRef stream);
/// The library's own product of `shape`, in the same rounds.
[[nodiscard]] Row against_gemm(const Case& what, const GemmShape& shape, int rounds,
                               StreamRef stream);

[[nodiscard]] std::vector<Row> elementwise_rows(const BenchOptions& options, StreamRef stream);
[[nodiscard]] std::vector<Row> norm_rows(const BenchOptions& options, StreamRef stream);
[[nodiscard]] std::vector<Row> head_rows(const BenchOptions& options, StreamRef stream);
[[nodiscard]] std::vector<Row> llama_rows(const BenchOptions& options, StreamRef stream);
[[nodiscard]] std::vector<Row> loss_rows(const BenchOptions& options, StreamRef stream);
[[nodiscard]] std::vector<Row> attention_rows(const BenchOptions& options, StreamRef stream);
[[nodiscard]] std::vector<Row> matmul_rows(const BenchOptions& options, StreamRef stream);

/// How many i in [0, count) do not satisfy `right(i)`.
template <class Right>
std::int64_t count_wrong(std::int64_t count, StreamRef stream, Right&& right) {
  std::atomic<std::int64_t> wrong{0};
  for_parts(count, stream, [&](std::int64_t first, std::int64_t last) {
    std::int64_t here = 0;
    for (std::int64_t i = first; i < last; ++i) here += right(i) ? 0 : 1;
    wrong += here;
  });
  return wrong;
}

[[nodiscard]] inline bool near(float got, double expected, double error) {
  return std::abs(static_cast<double>(got) - expected) <= error;
}

[[nodiscard]] inline double wide(float x) { return static_cast<double>(x); }

}  // namespace sherd::bench
