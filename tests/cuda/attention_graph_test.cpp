// cuDNN takes our graphs, as far as it can be asked without a device.
#include <doctest/doctest.h>

#include "kernels/attention_library.hpp"

namespace sherd::cuda {
namespace {
constexpr int hopper = 90;
}

TEST_CASE("cuDNN builds the graphs of every shape that is sent to it") {
  for (const AttentionShape& shape :
       {AttentionShape{32, 1024, 12, 64}, AttentionShape{1, 1024, 25, 64},
        AttentionShape{4, 77, 3, 80}, AttentionShape{2, 2, 1, 8}, AttentionShape{1, 8192, 32, 128},
        AttentionShape{1, 2048, 32, 64, 8}, AttentionShape{4, 1024, 14, 64, 2},
        AttentionShape{1, 4096, 32, 128, 8}, AttentionShape{2, 77, 6, 80, 1},
        AttentionShape{2, 300, 16, 96, 8}}) {
    for (const DType type : {DType::bf16, DType::f16}) {
      CAPTURE(shape.length);
      CAPTURE(shape.head_dim);
      REQUIRE(suits_library(shape, type));
      CHECK(graph_problem(shape, type, Direction::forward, hopper) == "");
      CHECK(graph_problem(shape, type, Direction::backward, hopper) == "");
    }
  }
}

TEST_CASE("cuDNN refuses what is not sent to it") {
  const AttentionShape heads_of_60{4, 128, 3, 60}, one_token{4, 1, 3, 64};
  REQUIRE_FALSE(suits_library(heads_of_60, DType::bf16));
  CHECK(graph_problem(heads_of_60, DType::bf16, Direction::forward, hopper) != "");
  CHECK(graph_problem(heads_of_60, DType::bf16, Direction::backward, hopper) != "");
  REQUIRE_FALSE(suits_library(one_token, DType::bf16));
  CHECK(graph_problem(one_token, DType::bf16, Direction::backward, hopper) != "");
}

TEST_CASE("The fused attention names its library and version") {
  CHECK(attention_library().starts_with("cuDNN 9."));
}

}  // namespace sherd::cuda
