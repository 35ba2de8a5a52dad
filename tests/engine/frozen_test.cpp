// Parameters that are not trained keep their bits, and the others are trained as if all were.
#include <doctest/doctest.h>

#include <map>

#include "io/temp_folder.hpp"
#include "sherd/model/weights.hpp"
#include "support/saved_runs.hpp"

using namespace sherd;
using namespace sherd::test;

namespace {

using Values = std::map<std::string, std::vector<float>>;

Values weights_at(const std::string& folder) {
  const checkpoint::Checkpoint saved(io::storage(), folder);
  Values values;
  for (const checkpoint::Tensor& tensor : saved.manifest().contents.tensors) {
    std::vector<float>& out = values[tensor.name];
    out.resize(static_cast<std::size_t>(tensor.shape.numel()));
    saved.read_weights(tensor, 0, out);
  }
  return values;
}

/// As a run of that seed starts.
Values first_values(const launch::RunConfig& config) {
  Values values;
  const model::ModelSpec spec = model::declare(model::gpt2(awkward_gpt2(3)), {}, {2, 33});
  const auto weights = model::random_weights(config.model.seed);
  for (const model::ParamSpec& param : spec.params) {
    std::vector<float>& out = values[param.name];
    out.resize(static_cast<std::size_t>(param.shape.numel()));
    weights->read(param, 0, out);
  }
  return values;
}

const std::vector<std::string> patterns[] = {{"embed.*"},
                                             {"*.qkv_weight", "*.ln_beta"},
                                             {"layer0.*", "layer2.mlp.*"},
                                             {"layer*", "embed.wpe"}};

/// Momentum and clipping would mix what is trained with what is not.
launch::RunConfig plain(int world, int stage) {
  launch::RunConfig config = resident(formats[0], world);
  config.optimizer.optimizer = optim::Kind::sgd;
  config.optimizer.beta1 = 0;
  config.optimizer.clip_grad_norm = 0;
  config.sharding.zero_stage = stage;
  config.batch.steps = 1;
  return config;
}

}  // namespace

TEST_CASE("one step changes what is trained as it does where everything is, and nothing else") {
  const TempFolder folder{std::filesystem::current_path()};
  const Values start = first_values(plain(1, 0));
  std::size_t trained = 0, kept = 0;
  for (const auto& [world, stage] : {std::pair{1, 0}, {2, 1}, {2, 2}, {3, 3}, {3, 0}}) {
    const auto played = [&](const std::vector<std::string>& frozen, const std::string& name) {
      launch::RunConfig config = plain(world, stage);
      config.model.freeze = frozen;
      const std::string root = folder.path() + "/" + name + std::to_string(10 * world + stage);
      const Played result = play(config, {.root = root});
      return std::pair{result.numbers[0], weights_at(saved_at(root, 1))};
    };
    const auto [loss, all] = played({}, "all");
    int number = 0;
    for (const std::vector<std::string>& frozen : patterns) {
      const auto [own_loss, values] = played(frozen, "frozen" + std::to_string(number++));
      CHECK(own_loss == loss);
      const auto is_frozen = model::frozen_by(frozen);
      REQUIRE(values.size() == start.size());
      for (const auto& [name, value] : values) {
        INFO(name << ", world " << world << ", stage " << stage);
        CHECK(value == (is_frozen(name) ? start : all).at(name));
        ++(is_frozen(name) ? kept : trained);
        CHECK(all.at(name) != start.at(name));
      }
    }
  }
  CHECK(trained > 100);
  CHECK(kept > 100);
}

TEST_CASE("a norm is of what is trained alone") {
  launch::RunConfig config = plain(2, 2);
  const auto squared_norm = [&](const std::vector<std::string>& frozen) {
    config.model.freeze = frozen;
    const double norm = std::bit_cast<double>(play(config, {}).numbers[1]);
    return norm * norm;
  };
  const double all = squared_norm({}), body = squared_norm({"layer*"}),
               rest = squared_norm({"embed.*", "head.*"});
  CHECK(body + rest == doctest::Approx(all).epsilon(1e-6));
  CHECK(body > 0);
  CHECK(rest > 0);
}

TEST_CASE("patterns that name nothing, or everything, are refused") {
  launch::RunConfig config = plain(1, 0);
  const auto refused = [&](const std::vector<std::string>& frozen) -> std::string {
    config.model.freeze = frozen;
    try {
      (void)play(config, {});
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "";
  };
  CHECK(refused({"embed.*", "layer7.*"}).find("'layer7.*' names no parameter") !=
        std::string::npos);
  CHECK(refused({"*"}).find("nothing is left to train") != std::string::npos);
}
