#include "sherd/base/view.hpp"

#include <doctest/doctest.h>

#include <array>

using namespace sherd;

TEST_CASE("A view knows its bytes and is absent without data") {
  CHECK_FALSE(View{});
  std::array<std::byte, 48> memory{};
  const View view{memory.data(), {3, 4}, DType::f32};
  CHECK(view);
  CHECK(view.numel() == 12);
  CHECK(view.bytes() == 48);
  CHECK(view.raw().data() == memory.data());
  CHECK(view.raw().size() == 48);
  CHECK(view.span<float>().size() == 12);
}

TEST_CASE("Rows of a view start where row-major order puts them") {
  alignas(8) std::array<std::byte, 96> memory{};
  for (const DType type : {DType::f64, DType::f32, DType::bf16, DType::i8}) {
    const View view{memory.data(), {4, 3}, type};
    const View part = view.rows(1, 2);
    CHECK(part.data == memory.data() + 3 * size_of(type));
    CHECK(part.shape == Shape{2, 3});
    CHECK(part.type == type);
    CHECK(view.reshaped({3, 4}).data == view.data);
    CHECK(view.reshaped({3, 4}).numel() == view.numel());
  }
}

TEST_CASE("A view of more than 2^31 elements does not overflow") {
  const View view{nullptr, {std::int64_t{1} << 20, std::int64_t{1} << 14}, DType::f32};
  CHECK(view.numel() == std::int64_t{1} << 34);
  CHECK(view.bytes() == Bytes{1} << 36);
}
