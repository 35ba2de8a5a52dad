#pragma once
// One function for each question `sherd bench` answers; a new question adds a function here, a file
// of its own in src/bench, and reuses Row, alternate and the bounds.
#include <vector>

#include "sherd/bench/row.hpp"

namespace sherd::bench {

struct BenchOptions {
  int threads = 1;     // of the compute lane
  bool quick = false;  // sizes for seconds; caches may hold them
  int rounds = 0;      // 0: 9, or 5 when quick
  std::int64_t n = 0;  // elements of `optim` and of streams; 0: 64 Mi, or 4 Mi when quick
  [[nodiscard]] int effective_rounds() const { return rounds > 0 ? rounds : quick ? 5 : 9; }
  [[nodiscard]] std::int64_t effective_n() const { return n > 0 ? n : quick ? 4 << 20 : 64 << 20; }
};

/// The machine: copy and read-modify-write for 1 to `threads` threads, the library's fp32 products.
[[nodiscard]] std::vector<Row> machine(const BenchOptions& options);

/// AdamW, Lion, SGD: fp32 master and moments, bf16 gradient in, bf16 parameter out, against
/// read-modify-write of three arrays.
[[nodiscard]] std::vector<Row> optim(const BenchOptions& options);

/// Kernels of a transformer block at GPT-2 124M sizes: streaming ones against a copy of as many
/// bytes, attention and matmul against the library's products.
[[nodiscard]] std::vector<Row> kernels(const BenchOptions& options);

}  // namespace sherd::bench
