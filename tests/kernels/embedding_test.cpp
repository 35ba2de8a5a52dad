#include "sherd/kernels/embedding.hpp"

#include <doctest/doctest.h>

#include "kernels/array.hpp"
#include "sherd/base/errors.hpp"

using namespace sherd;
using namespace sherd::test;

namespace {

constexpr std::int64_t vocabulary = 61, context = 40;

// A few tokens take most places, many take none.
Array some_tokens(Shape shape) {
  return {shape, DType::i32, [](std::int64_t i) {
            const auto word = philox_u32({5, 5}, static_cast<std::uint64_t>(i));
            return static_cast<double>(word % 3 == 0 ? word / 3 % vocabulary : word % 5);
          }};
}

/// The gradient rows a plain sequential loop over the batch gives.
std::vector<float> plain_loop(const Array& d_out, const std::vector<std::int64_t>& row_of,
                              const Array& before, const Grad& grad, std::int64_t width) {
  std::vector<float> sum(static_cast<std::size_t>(before.numel()));
  for (std::int64_t i = 0; i < before.numel(); ++i)
    sum[static_cast<std::size_t>(i)] =
        grad.mode == Write::add ? static_cast<float>(before[i]) : 0.0f;
  std::vector<bool> named(sum.size());
  for (std::size_t k = 0; k < row_of.size(); ++k) {
    for (std::int64_t c = 0; c < width; ++c) {
      const auto to = static_cast<std::size_t>(row_of[k] * width + c);
      sum[to] += static_cast<float>(d_out[static_cast<std::int64_t>(k) * width + c]);
      named[to] = true;
    }
  }
  if (grad.to.type == DType::f32) return sum;
  for (std::size_t i = 0; i < sum.size(); ++i) {
    sum[i] = to_float(to_bfloat16_stochastic(sum[i], philox_u32(grad.round, i)));
  }
  return sum;
}
bool equals(const Array& got, const std::vector<float>& want) {
  for (std::int64_t i = 0; i < got.numel(); ++i) {
    if (got[i] != static_cast<double>(want[static_cast<std::size_t>(i)])) return false;
  }
  return got.guarded();
}

}  // namespace

TEST_CASE("embedding adds the rows of token and position, for every type") {
  device::Stream stream(1);
  for (const DType type : float_types) {
    for (const std::int64_t width : {1, 72, 257}) {
      Array tokens = some_tokens({3, 33}), out({99, width}, type);
      Array table({vocabulary, width}, type, noise(1)), positions({context, width}, type, noise(2));
      kernels::embedding({tokens.view(), table.view(), positions.view(), out.view()}, stream);
      bool good = out.guarded();
      for (std::int64_t i = 0; i < 99 * width; ++i) {
        const auto token = static_cast<std::int64_t>(tokens[i / width]);
        const double sum =
            table[token * width + i % width] + positions[i / width % 33 * width + i % width];
        good = good && std::abs(out[i] - sum) <= half_ulp(type) * std::abs(sum) + 1e-7;
      }
      CHECK(good);
      kernels::embedding({tokens.view(), table.view(), {}, out.view()}, stream);
      for (std::int64_t i = 0; i < 99 * width; ++i) {
        const auto token = static_cast<std::int64_t>(tokens[i / width]);
        REQUIRE(out[i] == table[token * width + i % width]);
      }
    }
  }
}

TEST_CASE("embedding backward equals a sequential loop, bit for bit, in every type and mode") {
  const Philox bits = philox(1, Purpose::gradient_rounding, {9});
  for (const int threads : {1, 2, 3}) {
    device::Stream stream(threads);
    for (const DType type : {DType::f32, DType::bf16}) {
      for (const Write mode : {Write::set, Write::add}) {
        for (const std::int64_t width : {1, 72, 300}) {
          Array tokens = some_tokens({4, 33}), d_out({132, width}, DType::f32, noise(3));
          Array table({vocabulary, width}, type, noise(4)),
              positions({context, width}, type, noise(5));
          const Array table_before = table, positions_before = positions;
          const Grad d_table{table.view(), mode, bits}, d_positions{positions.view(), mode, bits};
          Array space = scratch(
              kernels::embedding_backward_scratch(tokens.view().shape, vocabulary, width, {}));
          std::vector<std::int64_t> token_of, place_of;
          for (std::int64_t i = 0; i < 132; ++i) {
            token_of.push_back(static_cast<std::int64_t>(tokens[i]));
            place_of.push_back(i % 33);
          }
          kernels::embedding_backward(
              {tokens.view(), d_out.view(), d_table, d_positions, space.view()}, stream);
          CHECK(equals(table, plain_loop(d_out, token_of, table_before, d_table, width)));
          CHECK(
              equals(positions, plain_loop(d_out, place_of, positions_before, d_positions, width)));
          CHECK(space.guarded());
        }
      }
    }
  }
}

TEST_CASE("embedding backward clears rows that nobody names, and only when it sets") {
  device::Stream stream(1);
  Array tokens({1, 2}, DType::i32, [](std::int64_t) { return 3.0; });
  Array d_out({2, 5}, DType::bf16, [](std::int64_t) { return 1.0; });
  Array table({6, 5}, DType::f32, [](std::int64_t) { return 7.0; });
  Array space = scratch(kernels::embedding_backward_scratch({1, 2}, 6, 5, {}));
  kernels::embedding_backward(
      {tokens.view(), d_out.view(), {table.view(), Write::add}, {}, space.view()}, stream);
  for (std::int64_t i = 0; i < 30; ++i) CHECK(table[i] == (i / 5 == 3 ? 9 : 7));
  kernels::embedding_backward(
      {tokens.view(), d_out.view(), {table.view(), Write::set}, {}, space.view()}, stream);
  for (std::int64_t i = 0; i < 30; ++i) CHECK(table[i] == (i / 5 == 3 ? 2 : 0));
}

TEST_CASE("embedding refuses positions that are too short and scratch that is too small") {
  device::Stream stream(1);
  Array tokens = some_tokens({2, 8}), table({vocabulary, 4}, DType::f32, noise(1));
  Array few({7, 4}, DType::f32, noise(2)), out({16, 4}, DType::f32), tiny({1, 3}, DType::f32);
  CHECK_THROWS_AS(kernels::embedding({tokens.view(), table.view(), few.view(), out.view()}, stream),
                  UsageError);
  CHECK_THROWS_AS(kernels::embedding_backward(
                      {tokens.view(), out.view(), {table.view()}, {}, tiny.view()}, stream),
                  UsageError);
}
