#include "sherd/data/sampler.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include "sherd/base/errors.hpp"

namespace sherd::data {
namespace {

/// The samples of one epoch in order.
std::vector<std::uint64_t> epoch_of(const Sampler& sampler, std::uint64_t epoch,
                                    std::uint64_t batch) {
  std::vector<std::uint64_t> order;
  const std::uint64_t steps = sampler.steps_per_epoch();
  for (std::uint64_t step = epoch * steps; step < (epoch + 1) * steps; ++step) {
    for (std::uint64_t slot = 0; slot < batch; ++slot) {
      if (const auto sample = sampler.at(step, slot)) order.push_back(*sample);
    }
  }
  return order;
}

bool is_permutation(const std::vector<std::uint64_t>& order, std::uint64_t n) {
  if (order.size() != n) return false;
  std::vector<char> seen(n, 0);
  for (const std::uint64_t sample : order) {
    if (sample >= n || seen[sample] != 0) return false;
    seen[sample] = 1;
  }
  return true;
}

TEST_CASE("An epoch holds each sample once for every size from 1 to 2000") {
  for (std::uint64_t n = 1; n <= 2000; ++n) {
    const std::uint64_t batch = n % 7 + 1;
    CAPTURE(n);
    REQUIRE(is_permutation(epoch_of(Sampler(n, batch, 42), n % 3, batch), n));
  }
}

TEST_CASE("An epoch holds each sample once for large and awkward sizes") {
  for (const std::uint64_t n : {65535u, 65536u, 65537u, 262145u, 1000003u}) {
    CAPTURE(n);
    REQUIRE(is_permutation(epoch_of(Sampler(n, 64, 7), 1, 64), n));
  }
}

TEST_CASE("Sizes near the limit give samples inside, without repetition") {
  for (const std::uint64_t n : {std::uint64_t{1} << 40, (std::uint64_t{1} << 62) - 1}) {
    const Sampler sampler(n, 1 << 20, 3);
    std::set<std::uint64_t> seen;
    for (std::uint64_t slot = 0; slot < 10000; ++slot) {
      const auto sample = sampler.at(5, slot);
      REQUIRE(sample.has_value());
      REQUIRE(*sample < n);
      REQUIRE(seen.insert(*sample).second);
    }
  }
}

TEST_CASE("The last batch of an epoch is short and the next epoch starts full") {
  const Sampler sampler(10, 4, 1);
  CHECK(sampler.steps_per_epoch() == 3);
  CHECK(sampler.at(2, 1).has_value());
  CHECK_FALSE(sampler.at(2, 2).has_value());
  CHECK_FALSE(sampler.at(2, 3).has_value());
  CHECK(sampler.at(3, 3).has_value());
  CHECK(Sampler(3, 8, 1).steps_per_epoch() == 1);
}

TEST_CASE("The order depends on seed and epoch and on nothing else") {
  const auto order = epoch_of(Sampler(500, 8, 1), 0, 8);
  CHECK(order == epoch_of(Sampler(500, 8, 1), 0, 8));
  CHECK(order == epoch_of(Sampler(500, 24, 1), 0, 24));
  CHECK(order != epoch_of(Sampler(500, 8, 1), 1, 8));
  CHECK(order != epoch_of(Sampler(500, 8, 2), 0, 8));
}

TEST_CASE("Without shuffling the order is the order of the data in every epoch") {
  const Sampler sampler(7, 3, 9, false);
  for (const std::uint64_t epoch : {0u, 4u}) {
    CHECK(epoch_of(sampler, epoch, 3) == std::vector<std::uint64_t>{0, 1, 2, 3, 4, 5, 6});
  }
}

TEST_CASE("Every sample is about equally likely at every place") {
  // Chi-square per place over epochs, as a z value; 6 is far outside chance for so few places.
  for (const std::uint64_t n : {2u, 3u, 5u, 10u, 33u}) {
    const std::uint64_t epochs = 2000 * n;
    const Sampler sampler(n, n, 11);
    std::vector<std::vector<double>> hits(n, std::vector<double>(n, 0));
    for (std::uint64_t epoch = 0; epoch < epochs; ++epoch) {
      for (std::uint64_t place = 0; place < n; ++place) hits[place][*sampler.at(epoch, place)] += 1;
    }
    for (std::uint64_t place = 0; place < n; ++place) {
      double chi = 0;
      for (const double count : hits[place]) chi += (count - 2000) * (count - 2000) / 2000;
      const double freedom = static_cast<double>(n) - 1;
      CAPTURE(n);
      CAPTURE(place);
      CHECK((chi - freedom) / std::sqrt(2 * freedom) < 6.0);
    }
  }
}

TEST_CASE("Neighbours in the data are not neighbours in the order") {
  const auto order = epoch_of(Sampler(10000, 10, 5), 0, 10);
  int near = 0;
  for (std::size_t i = 1; i < order.size(); ++i) {
    const std::uint64_t low = std::min(order[i - 1], order[i]);
    near += std::max(order[i - 1], order[i]) - low <= 1 ? 1 : 0;
  }
  CHECK(near < 20);  // about 2 by chance
}

TEST_CASE("A sampler without samples, batch or slot is refused") {
  CHECK_THROWS_AS(Sampler(0, 1, 0), UsageError);
  CHECK_THROWS_AS(Sampler(1, 0, 0), UsageError);
  CHECK_THROWS_AS((void)Sampler(10, 2, 0).at(0, 2), UsageError);
}

}  // namespace
}  // namespace sherd::data
