#include "sherd/model/presets.hpp"

#include <doctest/doctest.h>

#include <map>

#include "sherd/base/errors.hpp"
#include "sherd/model/spec.hpp"

using namespace sherd;

namespace {

std::vector<std::string> problems(const model::ModelConfig& config) {
  try {
    (void)model::resolve(config);
  } catch (const ConfigError& error) {
    return error.problems;
  }
  return {};
}

}  // namespace

TEST_CASE("presets have the published numbers of parameters") {
  const std::map<std::string, std::uint64_t> published{{"gpt2-124m", 124'439'808},
                                                       {"gpt2-355m", 354'823'168},
                                                       {"gpt2-774m", 774'030'080},
                                                       {"gpt2-1558m", 1'557'611'200}};
  for (const auto& [name, parameters] : published) {
    const model::Network network = model::build({.model = name});
    CHECK(model::declare(network.model, {}, {1, 64}).parameters() == parameters);
    CHECK(network.vocab_size == 50257);
    CHECK(network.context == 1024);
  }
  CHECK(model::presets().size() == 5);
}

TEST_CASE("overrides replace a preset's numbers and the feed-forward width follows the width") {
  const model::Gpt2Config wider = model::resolve({.width = 72, .context = 33, .dropout = 0.1});
  CHECK(wider == model::Gpt2Config{4, 4, 72, 288, 256, 33, 0.1f});
  const model::Gpt2Config all = model::resolve(
      {.layers = 2, .heads = 3, .width = 72, .ffn_width = 100, .vocab_size = 259, .context = 33});
  CHECK(all == model::Gpt2Config{2, 3, 72, 100, 259, 33});
}

TEST_CASE("an unknown preset is refused with the nearest one") {
  const auto found = problems({.model = "gpt2-124"});
  REQUIRE(found.size() == 1);
  CHECK(found[0].find("did you mean gpt2-124m?") != std::string::npos);
}

TEST_CASE("all problems of a model are listed at once") {
  CHECK(problems({.heads = 5}) ==
        std::vector<std::string>{"heads: got 5, need a divisor of width 128"});
  CHECK(problems({.model = "gtp2", .layers = -1, .vocab_size = -7, .dropout = 1}).size() == 4);
  CHECK(problems({.model = "gpt2-tiny", .context = std::int64_t{1} << 40}).size() == 1);
  CHECK(problems({.width = INT64_MAX}).size() >= 1);
}

TEST_CASE("the description names everything that changes a bit") {
  const std::string tiny = model::build({}).description;
  CHECK(tiny == model::build({.model = "gpt2-tiny", .width = 128, .seed = 5}).description);
  for (const model::ModelConfig& other :
       {model::ModelConfig{.layers = 2}, model::ModelConfig{.heads = 2},
        model::ModelConfig{.width = 64}, model::ModelConfig{.ffn_width = 64},
        model::ModelConfig{.vocab_size = 300}, model::ModelConfig{.context = 64},
        model::ModelConfig{.dropout = 0.1}})
    CHECK(model::build(other).description != tiny);
}
