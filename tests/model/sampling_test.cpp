#include "sherd/model/sampling.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "sherd/base/errors.hpp"

using namespace sherd;
using model::Sampler;
using model::SamplingConfig;

namespace {

constexpr int draws = 200'000;

/// How often each token came.
std::map<int, int> counts(const SamplingConfig& config, const std::vector<float>& logits) {
  Sampler sampler(config, std::ssize(logits));
  std::map<int, int> found;
  for (std::uint64_t i = 0; i < draws; ++i) ++found[sampler.draw(logits, i)];
  return found;
}

/// Pearson's statistic has as mean its degrees of freedom, and twice that as variance: five
/// standard deviations above the mean fail once in a million seeds, and the seed is fixed.
void check_frequencies(const std::map<int, int>& found, const std::map<int, double>& weights) {
  double total = 0, statistic = 0;
  for (const auto& [token, weight] : weights) total += weight;
  int drawn = 0;
  for (const auto& [token, weight] : weights) {
    const double wanted = draws * weight / total;
    const int got = found.contains(token) ? found.at(token) : 0;
    statistic += (got - wanted) * (got - wanted) / wanted;
    drawn += got;
  }
  CHECK(drawn == draws);  // nothing outside
  const double freedom = static_cast<double>(weights.size()) - 1;
  CHECK(statistic < freedom + 5 * std::sqrt(2 * freedom) + 1e-9);
}

// Probabilities 1/2, 1/4, 1/8, … in an order that is not sorted.
const std::vector<int> order = {3, 0, 6, 1, 5, 2, 4, 7};
std::vector<float> halves() {
  std::vector<float> logits(order.size());
  for (std::size_t i = 0; i < order.size(); ++i)
    logits[static_cast<std::size_t>(order[i])] = -std::log(2.0f) * static_cast<float>(i) + 3;
  return logits;
}
std::map<int, double> first(std::size_t count, double base) {
  std::map<int, double> weights;
  for (std::size_t i = 0; i < count; ++i)
    weights[order[i]] = std::pow(base, static_cast<double>(i));
  return weights;
}

}  // namespace

TEST_CASE("tokens come as often as the softmax of the logits says") {
  check_frequencies(counts({.seed = 1}, halves()), first(8, 0.5));
}

TEST_CASE("a temperature divides the logits") {
  check_frequencies(counts({.temperature = 2, .seed = 2}, halves()), first(8, std::sqrt(0.5)));
  check_frequencies(counts({.temperature = 0.5, .seed = 3}, halves()), first(8, 0.25));
}

TEST_CASE("temperature 0 takes the most likely token, the lower of two alike") {
  Sampler sampler({.temperature = 0}, 4);
  const float infinity = std::numeric_limits<float>::infinity();
  CHECK(sampler.draw(std::vector<float>{1, 3, 3, 2}, 0) == 1);
  CHECK(sampler.draw(std::vector<float>{-infinity, -3, -2, -infinity}, 1) == 2);
}

TEST_CASE("top-k keeps the k most likely tokens in their proportions") {
  for (const std::size_t k : {1u, 3u, 7u})
    check_frequencies(counts({.top_k = static_cast<std::int64_t>(k), .seed = 4}, halves()),
                      first(k, 0.5));
  check_frequencies(counts({.top_k = 100, .seed = 5}, halves()), first(8, 0.5));
}

TEST_CASE("top-p keeps the fewest tokens that have the probability") {
  check_frequencies(counts({.top_p = 0.4, .seed = 6}, halves()), first(1, 0.5));
  check_frequencies(counts({.top_p = 0.7, .seed = 7}, halves()), first(2, 0.5));
  check_frequencies(counts({.top_p = 0.9, .seed = 8}, halves()), first(4, 0.5));
  // Of the three that top-k leaves, two have 6/7.
  check_frequencies(counts({.top_k = 3, .top_p = 0.8, .seed = 9}, halves()), first(2, 0.5));
  // The temperature comes first: 1/2, 1/4, … become 0.3, 0.21, 0.15, …
  check_frequencies(counts({.temperature = 2, .top_p = 0.5, .seed = 10}, halves()),
                    first(2, std::sqrt(0.5)));
}

TEST_CASE("top-p of a large vocabulary is the same whether few tokens suffice or many") {
  std::vector<float> logits(3000);
  for (std::size_t i = 0; i < logits.size(); ++i)
    logits[i] = 1e-4f * static_cast<float>(i * 7 % logits.size());  // nearly flat
  Sampler sampler({.top_p = 0.5, .seed = 11}, std::ssize(logits));
  std::vector<double> weights(logits.begin(), logits.end());
  for (double& weight : weights) weight = std::exp(weight);
  std::sort(weights.rbegin(), weights.rend());
  const double half = std::accumulate(weights.begin(), weights.end(), 0.0) / 2;
  double sum = 0, least = 0;
  for (std::size_t i = 0; sum < half; ++i) sum += least = weights[i];
  for (std::uint64_t i = 0; i < 2000; ++i) {
    const auto token = static_cast<std::size_t>(sampler.draw(logits, i));
    CHECK(std::exp(static_cast<double>(logits[token])) >= least);
  }
}

TEST_CASE("a token is a function of logits, seed and position") {
  const std::vector<float> flat(1000, 0.0f);
  Sampler one({.seed = 5}, 1000), other({.seed = 5}, 1000), third({.seed = 6}, 1000);
  int equal = 0;
  for (const std::uint64_t position : {9u, 3u, 3u, 700u}) {
    CHECK(one.draw(flat, position) == other.draw(flat, position));
    equal += one.draw(flat, position) == third.draw(flat, position) ? 1 : 0;
  }
  CHECK(equal < 4);
  CHECK(one.draw(flat, 1) != one.draw(flat, 2));
}

TEST_CASE("logits that are no numbers are refused, impossible tokens never drawn") {
  const float nan = std::nanf(""), infinity = std::numeric_limits<float>::infinity();
  for (const double temperature : {0.0, 1.0}) {
    Sampler sampler({.temperature = temperature, .top_k = 2, .top_p = 0.9}, 3);
    CHECK_THROWS_AS((void)sampler.draw(std::vector<float>{1, nan, 2}, 0), DataError);
    CHECK_THROWS_AS((void)sampler.draw(std::vector<float>{1, infinity, 2}, 0), DataError);
    CHECK_THROWS_AS((void)sampler.draw(std::vector<float>(3, -infinity), 0), DataError);
    for (std::uint64_t i = 0; i < 100; ++i)
      CHECK(sampler.draw(std::vector<float>{-infinity, 0, -infinity}, i) == 1);
  }
}

TEST_CASE("numbers out of range are named") {
  CHECK(model::problems_of(SamplingConfig{}).empty());
  CHECK(model::problems_of({.temperature = -1, .top_k = -2, .top_p = 1.5}) ==
        std::vector<std::string>{"--temperature: got -1, need 0 to 1000000",
                                 "--top-k: got -2, need 0 (all) or more",
                                 "--top-p: got 1.5, need more than 0 and at most 1"});
  CHECK(model::problems_of({.top_p = 0}).size() == 1);
  CHECK(model::problems_of({.temperature = std::nan("")}).size() == 1);
  CHECK_THROWS_AS(Sampler({.top_p = 2}, 4), UsageError);
}
