#include "sherd/bench/bounds.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <vector>

using namespace sherd;

namespace {

View view_of(std::vector<float>& values) {
  return {reinterpret_cast<std::byte*>(values.data()),
          {1, static_cast<std::int64_t>(values.size())},
          DType::f32};
}

}  // namespace

TEST_CASE("the copy bound copies every byte for any number of threads") {
  for (const int threads : {1, 2, 3}) {
    for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{4097},
                                   std::size_t{100000}, std::size_t{1200000}}) {
      device::Stream stream(threads);
      std::vector<std::byte> from(size), to(size);
      for (std::size_t i = 0; i < size; ++i) from[i] = static_cast<std::byte>(i * 7 + 1);
      bench::copy_bytes(from, to, stream);
      CHECK(from == to);
      std::ranges::fill(to, std::byte{});
      bench::copy_portions(from, to, stream);
      CHECK(from == to);
    }
  }
}

TEST_CASE("the read-modify-write bound leaves values as they are") {
  for (const int threads : {1, 3}) {
    device::Stream stream(threads);
    std::vector<float> a(10007), b(10007), c(10007);
    for (std::size_t i = 0; i < a.size(); ++i) {
      a[i] = static_cast<float>(i) * 0.3f;
      b[i] = -a[i] + 1;
      c[i] = 1e-30f * a[i];
    }
    const auto keep = std::array{a, b, c};
    bench::touch_three(view_of(a), view_of(b), view_of(c), stream);
    CHECK(a == keep[0]);
    CHECK(b == keep[1]);
    CHECK(c == keep[2]);
  }
}

TEST_CASE("the library product is the one its shape says") {
  const std::int64_t m = 5, n = 7, k = 3;
  std::vector<float> a(15), b(21);
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(i) - 4;
  for (std::size_t i = 0; i < b.size(); ++i) b[i] = static_cast<float>(i % 5) + 1;
  for (const bool transpose_a : {false, true}) {
    for (const bool transpose_b : {false, true}) {
      std::vector<float> out(35, -1);
      bench::library_gemm({m, n, k, transpose_a, transpose_b}, a.data(), b.data(), out.data(), 1);
      for (std::int64_t i = 0; i < m; ++i) {
        for (std::int64_t j = 0; j < n; ++j) {
          float sum = 0;
          for (std::int64_t l = 0; l < k; ++l) {
            sum += a[static_cast<std::size_t>(transpose_a ? l * m + i : i * k + l)] *
                   b[static_cast<std::size_t>(transpose_b ? j * k + l : l * n + j)];
          }
          CHECK(out[static_cast<std::size_t>(i * n + j)] == sum);
        }
      }
    }
  }
}

TEST_CASE("the seconds of many products count each as often as it occurs") {
  const std::array none = {bench::GemmShape{.m = 8, .n = 8, .k = 8, .times = 0}};
  CHECK(bench::gemm_seconds(none, 1, 1) == 0);
  const std::array some = {bench::GemmShape{.m = 8, .n = 8, .k = 8, .times = 3}};
  CHECK(bench::gemm_seconds(some, 1, 1) > 0);
  CHECK(some[0].flops() == 1024);
}
