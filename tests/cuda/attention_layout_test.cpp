// Which attention a device computes where, and in which slices.
#include "kernels/attention_layout.hpp"

#include <doctest/doctest.h>

#include "sherd/base/units.hpp"

namespace sherd::cuda {
namespace {
namespace room = kernels::device_scratch;
}

TEST_CASE("Slices of attention's backward fit the scratch that they are given") {
  for (const std::int64_t sequences : {1, 2, 3, 7, 64, 1000}) {
    for (const std::int64_t length : {1, 2, 127, 128, 129, 1000, 1024, 8192}) {
      for (const std::int64_t heads : {1, 12, 25, 32}) {
        const AttentionShape shape{sequences, length, heads, 64};
        const std::int64_t slice = room::attention_slice(shape);
        CAPTURE(sequences);
        CAPTURE(length);
        CAPTURE(heads);
        REQUIRE(slice >= 1);
        REQUIRE(slice <= sequences);
        const Bytes scratch = room::attention_backward(shape);
        REQUIRE(scratch >= room::attention_backward_of(shape, slice));
        if (slice > 1) REQUIRE(room::attention_backward_of(shape, slice) <= room::slice_limit);
        if (slice < sequences) {
          REQUIRE(room::attention_backward_of(shape, slice + 1) > room::slice_limit);
        }
        // The library's own need: a 16-bit matrix of scores, a float a row, 256 bytes.
        const Bytes rows = static_cast<Bytes>(slice * heads * length);
        REQUIRE(scratch >= rows * 2 * static_cast<Bytes>(length) + rows * 4 + 256);
        // Our own kernels': a float for every row of every head, all sequences at once.
        REQUIRE(scratch >= static_cast<Bytes>(sequences * heads * length) * 4);
      }
    }
  }
}

TEST_CASE("Heads that share keys leave room for the gradients of each before they are summed") {
  const AttentionShape grouped{16, 1024, 32, 64, 8}, alone{16, 1024, 32, 64};
  const Bytes rows = 32 * 1024;
  CHECK(room::attention_backward_of(grouped, 1) ==
        room::attention_backward_of(alone, 1) + rows * 2 * 64 * 4);
  CHECK(room::attention_slice(grouped) < room::attention_slice(alone));
  CHECK(room::attention_backward(grouped) <= room::slice_limit);
}

TEST_CASE("A slice of one sequence may exceed the limit, and then stays one sequence") {
  const AttentionShape shape{4, 16384, 32, 128};
  CHECK(room::attention_slice(shape) == 1);
  CHECK(room::attention_backward(shape) > room::slice_limit);
}

TEST_CASE("The library computes 16-bit heads in pieces of eight") {
  const AttentionShape gpt2{32, 1024, 12, 64};
  CHECK(suits_library(gpt2, DType::bf16));
  CHECK(suits_library(gpt2, DType::f16));
  CHECK_FALSE(suits_library(gpt2, DType::f32));
  CHECK(suits_library({32, 1024, 25, 80}, DType::bf16));
  CHECK(suits_library({32, 1024, 25, 128}, DType::bf16));
  CHECK_FALSE(suits_library({32, 1024, 12, 60}, DType::bf16));
  CHECK_FALSE(suits_library({32, 1024, 12, 136}, DType::bf16));
  CHECK_FALSE(suits_library({32, 1, 12, 64}, DType::bf16));
}

TEST_CASE("Slices that would start off a 16-byte border are left to our own kernels") {
  const AttentionShape odd{64, 4097, 3, 64};  // 3 · 4097 floats of lse a sequence
  REQUIRE(room::attention_slice(odd) < odd.sequences);
  CHECK_FALSE(suits_library(odd, DType::bf16));
  CHECK(suits_library({1, 4097, 3, 64}, DType::bf16));
}

TEST_CASE("Packed rows hold queries, then keys, then values, and groups share a key head") {
  const HeadLayout same = head_layout({2, 5, 4, 16});
  CHECK(same.group() == 1);
  CHECK(same.key_column() == 64);
  CHECK(same.value_column() == 128);
  CHECK(same.qkv_width() == 192);
  const HeadLayout grouped = head_layout({2, 5, 8, 16, 2});
  CHECK(grouped.group() == 4);
  CHECK(grouped.width() == 128);
  CHECK(grouped.key_column() == 128);
  CHECK(grouped.value_column() == 160);
  CHECK(grouped.qkv_width() == 192);
}

}  // namespace sherd::cuda
