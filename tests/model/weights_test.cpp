#include "sherd/model/weights.hpp"

#include <doctest/doctest.h>

#include <cmath>

using namespace sherd;

namespace {

std::vector<float> read(const model::Weights& weights, const model::ParamSpec& param,
                        std::uint64_t first, std::size_t count) {
  std::vector<float> values(count);
  weights.read(param, first, values);
  return values;
}

}  // namespace

TEST_CASE("random weights have the declared distribution") {
  const auto weights = model::random_weights(1);
  const std::vector<float> values =
      read(*weights, {"a.w", {100, 1000}, {0.5f, 0.02f}, 0}, 0, 100'000);
  double mean = 0, square = 0;
  for (const float x : values) mean += x / 1e5;
  for (const float x : values) square += std::pow(x - mean, 2) / 1e5;
  CHECK(std::abs(mean - 0.5) < 5 * 0.02 / std::sqrt(1e5));
  CHECK(std::abs(std::sqrt(square) / 0.02 - 1) < 0.02);
  for (const float x : read(*weights, {"a.gamma", {1, 7}, {1, 0}, 0}, 3, 4)) CHECK(x == 1);
}

TEST_CASE("an element depends on seed, name and index alone, not on the range it is read in") {
  const model::ParamSpec param{"a.w", {10, 10}, {0, 1}, 0};
  const auto weights = model::random_weights(1);
  const std::vector<float> whole = read(*weights, param, 0, 100);
  for (const std::uint64_t first : {1u, 3u, 50u, 97u}) {
    const std::vector<float> part = read(*weights, param, first, 3);
    for (std::size_t i = 0; i < 3; ++i) CHECK(part[i] == whole[first + i]);
  }
  CHECK(read(*model::random_weights(2), param, 0, 100) != whole);
  CHECK(read(*weights, {"a.v", {10, 10}, {0, 1}, 0}, 0, 100) != whole);
  CHECK(weights->fingerprint() != model::random_weights(2)->fingerprint());
}
