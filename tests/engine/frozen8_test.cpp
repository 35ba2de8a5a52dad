// Frozen parameters in 8 bits: the run is the one whose frozen parameters were rounded to them
// first, wherever they live, and goes on from a checkpoint with the same blocks.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>

#include "io/temp_folder.hpp"
#include "sherd/checkpoint/folder.hpp"
#include "sherd/kernels/block8_math.hpp"
#include "sherd/launch/resume.hpp"
#include "support/fixture_runs.hpp"
#include "support/saved_runs.hpp"

using namespace sherd;
using namespace sherd::test;

namespace {

/// To the nearest codes and back, element by element.
void round_blocks(std::span<float> values) {
  for (std::size_t at = 0; at < values.size(); at += q8_elements) {
    const auto block = values.subspan(at, std::min(q8_elements, values.size() - at));
    float largest = 0;
    for (const float x : block) largest = std::max(largest, std::fabs(x));
    for (float& x : block)
      x = kernels::decode_m(
          kernels::encode_m(x, kernels::block8_inverse(largest), kernels::signed8), largest,
          kernels::signed8);
  }
}

/// Weights whose frozen ones have been through 8 bits.
class Rounded final : public model::Weights {
 public:
  explicit Rounded(std::unique_ptr<model::Weights> from) : from_(std::move(from)) {}
  void read(const model::ParamSpec& param, std::uint64_t first,
            std::span<float> out) const override {
    if (param.trainable) return from_->read(param, first, out);
    std::vector<float> all(static_cast<std::size_t>(param.shape.numel()));
    from_->read(param, 0, all);
    round_blocks(all);
    std::copy_n(all.begin() + static_cast<std::ptrdiff_t>(first), out.size(), out.begin());
  }
  [[nodiscard]] std::uint64_t fingerprint() const override { return from_->fingerprint(); }

 private:
  std::unique_ptr<model::Weights> from_;
};

/// Three steps of six sequences on adapters of a network of tests/fixtures.
launch::RunConfig adapters(const std::string& network, int world, int stage) {
  launch::RunConfig config = fixture_config(network, world, stage);
  config.model.lora_from = SHERD_FIXTURES "/lora/" + network;
  config.batch.micro_batch = 1;
  config.batch.grad_accum = 6 / world;
  config.batch.steps = 3;
  config.optimizer.lr = 1e-2;
  config.sharding.reduce_order = plan::ReduceOrder::canonical;
  config.precision.frozen_dtype = optim::FrozenDType::int8;
  return config;
}

launch::Job job_of(const launch::RunConfig& config, bool rounded) {
  launch::Job job = launch::zoo_job(launch::resolve(config));
  if (!rounded) return job;
  job.weights = [plain = job.weights](const model::ModelSpec& spec) {
    return std::make_unique<Rounded>(plain(spec));
  };
  return job;
}

struct Ran {
  std::vector<std::uint64_t> numbers;
  std::string hash;
  bool operator==(const Ran&) const = default;
};

/// Loss and norm of each step; a checkpoint in `root`, unless empty. Every tier holds what was
/// planned, to the byte.
Ran run(launch::RunConfig config, bool rounded, const std::string& root = "") {
  config.checkpoint.save = root;
  if (rounded) config.precision.frozen_dtype = optim::FrozenDType::param;
  checkpoint::Store store(io::storage(), root);
  if (!root.empty()) store.enter();
  ThreadRanks ranks({.config = config, .job = [&](Rank) { return job_of(config, rounded); }});
  std::vector<Ran> all(static_cast<std::size_t>(ranks.world()));
  rethrow(ranks.run([&](ThreadRank& seat) {
    Ran& ran = all[static_cast<std::size_t>(seat.rank)];
    std::optional<launch::Saving> saves;
    if (!root.empty()) {
      const launch::Job job = job_of(config, rounded);
      const launch::Origin origin = launch::origin_of(ranks.validated(), job);
      checkpoint::Manifest manifest;
      manifest.run = "00000000000000000000000000000001";
      manifest.world = ranks.world();
      manifest.model = origin.model;
      manifest.data = origin.data;
      manifest.settings = origin.settings;
      saves.emplace(launch::Saving::Parts{seat.engine, seat.control, seat.rank, ranks.world(),
                                          config.checkpoint, io::storage(), manifest});
    }
    while (seat.engine.steps() < seat.prepared.steps) {
      const engine::StepResult step = seat.engine.step({false, saves && saves->wish()});
      for (const double x : {step.loss, step.grad_norm})
        ran.numbers.push_back(std::bit_cast<std::uint64_t>(x));
      if (step.save) saves->begin();
    }
    if (saves) saves->finish();
    ran.hash = seat.engine.parameters_hash();
    for (int tier = 0; tier < memory::tiers; ++tier) {
      const auto at = static_cast<std::size_t>(tier);
      const memory::TierUse use = seat.engine.ledger().measured(static_cast<memory::Tier>(tier));
      CHECK(use.arena == seat.prepared.plan.memory.arena[at]);
      CHECK(use.peak == seat.prepared.plan.memory.peak[at]);
    }
  }));
  for (const Ran& other : all) CHECK(other == all[0]);
  return all[0];
}

std::string bytes_of_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE(file);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

TEST_CASE("adapters on 8-bit blocks train as on weights that were rounded to them") {
  for (const std::string network : {"gpt2", "llama", "qwen3"}) {
    for (const optim::Precision precision :
         {optim::Precision::fp32, optim::Precision::bf16, optim::Precision::fp16}) {
      CAPTURE(network);
      CAPTURE(static_cast<int>(precision));
      launch::RunConfig config = adapters(network, 2, 0);
      config.precision.precision = precision;
      const Ran packed = run(config, false), rounded = run(config, true);
      CHECK(packed.numbers == rounded.numbers);
      // In 16 bits what is stored is not the fp32 that blocks stand for.
      CHECK((packed.hash == rounded.hash) == (precision == optim::Precision::fp32));
      launch::RunConfig plain = config;
      plain.precision.frozen_dtype = optim::FrozenDType::param;
      CHECK(run(plain, false).numbers != packed.numbers);
    }
  }
}

TEST_CASE("stage, world, tier, overlap and recompute change no bit on 8-bit blocks") {
  const TempFolder folder{std::filesystem::current_path()};
  const Ran one = run(adapters("llama", 1, 0), false);
  for (int world = 1; world < 4; ++world) {
    for (int stage = 0; stage < 4; ++stage) {
      for (const plan::Recompute recompute :
           {plan::Recompute::none, plan::Recompute::selective, plan::Recompute::block}) {
        launch::RunConfig config = adapters("llama", world, stage);
        const int draw = world + 3 * stage + 5 * static_cast<int>(recompute);
        config.memory.recompute = recompute;
        config.memory.offload_params = static_cast<plan::Offload>(draw % 3);
        config.memory.offload_tile = draw % 2 == 0 ? 1280 : 1 << 20;
        config.memory.offload_fraction = draw % 3 > 0 && draw % 5 == 0 ? 0.3 : 1;
        config.sharding.overlap = draw % 2 == 0 ? plan::Overlap::on : plan::Overlap::off;
        config.sharding.prefetch = draw % 4;
        config.sharding.bucket_bytes = draw % 3 == 0 ? 20'000 : 1;
        if (config.memory.offload_params == plan::Offload::file) {
          config.file_tier.offload_dir = folder.path();
          config.file_tier.offload_dir_any = true;
        }
        INFO("world " << world << ": " << text_of(config));
        CHECK(run(config, false) == one);
      }
    }
  }
}

TEST_CASE("a checkpoint keeps blocks as they are, for any world, and no other state of theirs") {
  const TempFolder folder{std::filesystem::current_path()};
  const auto of = [&](int world, int stage) {
    launch::RunConfig config = resident(
        *std::ranges::find_if(
            formats, [](const Formats& f) { return f.name == std::string("frozen int8"); }),
        world);
    config.sharding.reduce_order = plan::ReduceOrder::canonical;
    config.sharding.zero_stage = stage;
    config.batch.micro_batch = 1;
    config.batch.grad_accum = 6 / world;
    return config;
  };
  const Played whole = play(of(1, 0), {});
  std::map<std::string, checkpoint::Digest> digests;
  const auto is_frozen = model::frozen_by(of(1, 0).model.freeze);
  for (const auto& [world, stage, later] : {std::tuple{1, 0, 3}, {2, 3, 1}, {3, 1, 2}, {3, 3, 3}}) {
    const std::string root = folder.path() + "/" + std::to_string(10 * world + stage);
    (void)play(of(world, stage), {.steps = 2, .root = root});
    const checkpoint::Checkpoint saved(io::storage(), saved_at(root, 2));
    CHECK(saved.verify().empty());
    for (const checkpoint::Tensor& tensor : saved.manifest().contents.tensors) {
      CAPTURE(tensor.name);
      CHECK(tensor.in_blocks() == is_frozen(tensor.name));
      if (!tensor.in_blocks()) continue;
      REQUIRE(tensor.states.size() == 1);
      digests.try_emplace(tensor.name, tensor.states[0].digest);
      CHECK(digests.at(tensor.name) == tensor.states[0].digest);
    }
    const Played after = play(of(later, 3 - stage), {.from = saved_at(root, 2), .root = root});
    CHECK(after.hash == whole.hash);
    const checkpoint::Checkpoint again(io::storage(), saved_at(root, 3));
    CHECK(again.parameters_hash() == whole.hash);
    for (const auto& [name, digest] : digests) CHECK(again.find(name)->states[0].digest == digest);
  }
  CHECK(digests.size() > 5);
}

TEST_CASE("exports of blocks are those of weights that were rounded to them") {
  const TempFolder folder{std::filesystem::current_path()};
  for (const std::string network : {"gpt2", "qwen2"}) {
    CAPTURE(network);
    const auto exported = [&](bool rounded) {
      const std::string root = folder.path() + "/" + network + (rounded ? "r" : "p");
      (void)run(adapters(network, 2, 3), rounded, root);
      const checkpoint::Checkpoint saved(io::storage(), saved_at(root, 3));
      checkpoint::export_folder(saved, root + "-merged");
      checkpoint::export_adapters(saved, root + "-adapters");
      return std::pair{bytes_of_file(root + "-merged/model.safetensors"),
                       bytes_of_file(root + "-adapters/adapter_model.safetensors")};
    };
    const auto packed = exported(false), rounded = exported(true);
    CHECK(packed.first == rounded.first);
    CHECK(packed.second == rounded.second);
  }
}

TEST_CASE("a run goes on with the same format of frozen parameters only") {
  const TempFolder folder{std::filesystem::current_path()};
  launch::RunConfig config = adapters("llama", 1, 0);
  (void)run(config, false, folder.path() + "/saves");
  const checkpoint::Checkpoint saved(io::storage(), saved_at(folder.path() + "/saves", 3));
  const auto refused = [&](optim::FrozenDType type) -> std::string {
    config.precision.frozen_dtype = type;
    try {
      const launch::Job job = job_of(config, false);
      (void)launch::changes(saved, launch::origin_of(launch::resolve(config), job));
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "";
  };
  CHECK(refused(optim::FrozenDType::int8).empty());
  CHECK(refused(optim::FrozenDType::param).find("--frozen-dtype: got 'param', but ") !=
        std::string::npos);
}

TEST_CASE("8 bits for frozen parameters are refused where nothing is frozen") {
  launch::RunConfig config = adapters("llama", 1, 0);
  config.model.lora_from.clear();
  try {
    (void)launch::prepare(launch::resolve(config), job_of(config, false), 0);
    FAIL("it was planned");
  } catch (const ConfigError& error) {
    CHECK(std::string(error.what()).find("--frozen-dtype: int8 needs") != std::string::npos);
  }
}
