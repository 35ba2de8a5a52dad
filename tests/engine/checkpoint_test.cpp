// A run that is saved and goes on is the run that never stopped: same losses, same bits, in every
// format, wherever states lived then and live now, and under canonical sums on any number of ranks.
#include <doctest/doctest.h>

#include "io/temp_folder.hpp"
#include "support/saved_runs.hpp"

using namespace sherd;
using namespace sherd::test;

namespace {

std::vector<std::uint64_t> last(const std::vector<std::uint64_t>& numbers, std::size_t count) {
  return {numbers.end() - static_cast<std::ptrdiff_t>(count), numbers.end()};
}

launch::RunConfig drawn(const launch::RunConfig& config, std::uint64_t draw,
                        const std::string& folder) {
  launch::RunConfig other = moved(config, draw * 1000 + 17, folder);
  // Rings that wrap, and such that hold all.
  other.checkpoint.save_memory = draw % 2 == 0 ? 64 * mib : 0;
  return other;
}

}  // namespace

TEST_CASE("a run that goes on is the run that never stopped, in every format and placement") {
  const TempFolder folder{std::filesystem::current_path()};
  for (const Formats& f : formats) {
    for (const int world : {1, 2, 3}) {
      if (SHERD_DRAWS == 1 && world != 2) continue;
      const launch::RunConfig config = resident(f, world);
      const Played whole = play(config, {});
      for (std::uint64_t draw = 0; draw < SHERD_DRAWS; ++draw) {
        const std::uint64_t seed =
            hash_name(f.name) % 997 + 8 * draw + static_cast<unsigned>(world);
        const launch::RunConfig then = drawn(config, seed, folder.path());
        const launch::RunConfig now = drawn(config, seed + 1, folder.path());
        INFO(f.name << ", world " << world << ": " << text_of(then) << " -> " << text_of(now));
        const std::string root = folder.path() + "/saved" + std::to_string(seed) + f.name;
        const Played before = play(then, {.steps = 2, .root = root});
        REQUIRE(before.saved.size() == 1);
        const Played after = play(now, {.from = saved_at(root, 2)});
        REQUIRE(after.numbers == last(whole.numbers, after.numbers.size()));
        REQUIRE(after.hash == whole.hash);
        std::filesystem::remove_all(root);
      }
    }
  }
}

TEST_CASE("any world goes on from any other with the same bits under canonical sums") {
  const TempFolder folder{std::filesystem::current_path()};
  const auto of = [&](const Formats& f, int world, int draw) {
    launch::RunConfig config = resident(f, world);
    config.sharding.reduce_order = plan::ReduceOrder::canonical;
    config.sharding.zero_stage = (world + draw) % 4;
    config.batch.micro_batch = 1;
    config.batch.grad_accum = 30 / world;
    config.batch.steps = 3;
    config.checkpoint.save_memory = 0;
    return config;
  };
  for (const std::size_t which : std::vector<std::size_t>{0, 6, 4}) {
    if (SHERD_DRAWS == 1 && which != 6) continue;  // where a run takes long
    const Formats& f = formats[which];
    const Played whole = play(of(f, 1, 0), {});
    for (const int world : {1, 2, 3, 5}) {
      const std::string root = folder.path() + "/w" + std::to_string(world);
      const Played before = play(of(f, world, 1), {.steps = 2, .root = root});
      for (const int later : {1, 2, 3, 5}) {
        INFO(f.name << ": " << world << " ranks -> " << later);
        const Played after = play(of(f, later, 2), {.from = saved_at(root, 2)});
        REQUIRE(after.numbers == last(whole.numbers, after.numbers.size()));
        REQUIRE(after.hash == whole.hash);
      }
      std::filesystem::remove_all(root);
    }
  }
}

TEST_CASE("edges of an epoch, of warm-up and of a loss scale's window are no edges for a resume") {
  const TempFolder folder{std::filesystem::current_path()};
  launch::RunConfig config = resident(formats[8], 2);  // fp16; an epoch is one and a half batches
  config.precision.loss_scale_init = 0x1p24;           // overflows first
  config.precision.loss_scale_window = 2;
  config.precision.loss_scale_hysteresis = 1;
  config.optimizer.schedule = optim::Schedule::cosine;
  config.optimizer.warmup_steps = 3;
  config.batch.steps = 8;
  const std::string root = folder.path() + "/all";
  const Played whole = play(config, {.root = root, .every = 1});
  REQUIRE(whole.saved.size() == 8);
  for (std::uint64_t step = 1; step < 8; ++step) {
    INFO("after step " << step);
    const Played after = play(config, {.from = saved_at(root, step)});
    CHECK(after.numbers == last(whole.numbers, after.numbers.size()));
    CHECK(after.hash == whole.hash);
    CHECK(after.progress == whole.progress);
  }
}

TEST_CASE("what was loaded is saved again with the same digests, whatever the world") {
  const TempFolder folder{std::filesystem::current_path()};
  const launch::RunConfig config = resident(formats[7], 3);
  (void)play(config, {.steps = 2, .root = folder.path() + "/first"});
  launch::RunConfig other = resident(formats[7], 2);
  other.sharding.zero_stage = 1;
  (void)play(other, {.from = saved_at(folder.path() + "/first", 2),
                     .steps = 2,
                     .root = folder.path() + "/second"});
  const checkpoint::Checkpoint first(io::storage(), saved_at(folder.path() + "/first", 2));
  const checkpoint::Checkpoint second(io::storage(), saved_at(folder.path() + "/second", 2));
  CHECK(first.verify().empty());
  CHECK(second.verify().empty());
  const auto& all = first.manifest().contents.tensors;
  REQUIRE(all.size() == second.manifest().contents.tensors.size());
  REQUIRE(all.size() > 10);
  for (const checkpoint::Tensor& tensor : all) {
    const checkpoint::Tensor* again = second.find(tensor.name);
    REQUIRE(again != nullptr);
    REQUIRE(again->states.size() == 4);
    for (std::size_t i = 0; i < tensor.states.size(); ++i)
      CHECK(again->states[i].digest == tensor.states[i].digest);
  }
}

TEST_CASE("moments saved in fp32 load as 8-bit ones within a code, and back") {
  const TempFolder folder{std::filesystem::current_path()};
  const auto saved = [&](const Formats& f, const char* name, std::string from) {
    const std::string root = folder.path() + "/" + name;
    (void)play(resident(f, 2), {.from = std::move(from), .steps = 2, .root = root});
    return saved_at(root, 2);
  };
  const std::string exact = saved(formats[0], "fp32", "");
  const std::string coded = saved(formats[6], "int8", exact);
  const std::string back = saved(formats[0], "back", coded);
  const checkpoint::Checkpoint was(io::storage(), exact), is(io::storage(), back);
  for (const checkpoint::Tensor& tensor : was.manifest().contents.tensors) {
    const auto numel = static_cast<std::uint64_t>(tensor.shape.numel());
    std::vector<float> a(numel), b(numel);
    const auto view = [&](std::vector<float>& v) {
      return View{reinterpret_cast<std::byte*>(v.data()),
                  {1, static_cast<std::int64_t>(numel)},
                  DType::f32};
    };
    was.read_moment(tensor, checkpoint::State::moment1, 0, view(a));
    is.read_moment(*is.find(tensor.name), checkpoint::State::moment1, 0, view(b));
    for (std::uint64_t block = 0; block < numel; block += 256) {
      const std::uint64_t end = std::min(numel, block + 256);
      float largest = 0;
      for (std::uint64_t i = block; i < end; ++i) largest = std::max(largest, std::abs(a[i]));
      // Codes of the largest decade lie 0.9 / 64 of it apart.
      for (std::uint64_t i = block; i < end; ++i)
        REQUIRE(std::abs(a[i] - b[i]) <= 0.0075F * largest);
    }
  }
}

TEST_CASE("a checkpoint of another network is refused by every parameter that differs") {
  const TempFolder folder{std::filesystem::current_path()};
  launch::RunConfig config = resident(formats[0], 1);
  const std::string root = folder.path() + "/one";
  (void)play(config, {.steps = 1, .root = root});
  const checkpoint::Checkpoint found(io::storage(), saved_at(root, 1));
  const Model other = model::gpt2({4, 3, 72, 128, awkward_vocabulary, awkward_length});
  const model::ModelSpec spec = model::declare(other, {DeviceKind::cpu, DType::f32, 1}, {1, 33});
  try {
    (void)checkpoint::weights_of(found, spec);
    FAIL("accepted");
  } catch (const DataError& error) {
    const std::string text = error.what();
    CHECK(text.find("layer3.attention.ln_gamma is missing") != text.npos);
    CHECK(text.find("layer0.mlp.fc_weight has another shape") != text.npos);
  }
}
