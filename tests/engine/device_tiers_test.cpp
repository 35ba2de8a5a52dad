// States on host and file under a step that runs on a device: the bits of everything on the device,
// the planned bytes in every tier, and failures of a lane on the host that end the run.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>
#include <vector>

#include "io/temp_folder.hpp"
#include "support/device_under_test.hpp"
#include "support/faulty_comm.hpp"
#include "support/faulty_transfer.hpp"
#include "support/placed_runs.hpp"

using namespace sherd;
using namespace sherd::test;

namespace {

using engine::Replay;

On here(Replay replay = Replay::where_it_can) { return {std::string(device_library), replay}; }

/// Random delays and orders in an emulated device, while it lives.
class Jitter {
 public:
  explicit Jitter(std::uint64_t seed) {
    setenv("SHERD_EMULATED_JITTER", std::to_string(seed).c_str(), 1);
  }
  Jitter(const Jitter&) = delete;
  Jitter& operator=(const Jitter&) = delete;
  ~Jitter() { unsetenv("SHERD_EMULATED_JITTER"); }
};

/// The formats under a world, each with everything on the device and with states elsewhere.
void check_placements(int world, std::uint64_t draws) {
  const TempFolder folder{std::filesystem::current_path()};
  for (const Formats& f : formats) {
    const launch::RunConfig resident_run = resident(f, world);
    const Bits expected = bits_of(resident_run, here());
    for (std::uint64_t draw = 0; draw < std::min<std::uint64_t>(draws, SHERD_DRAWS); ++draw) {
      const std::uint64_t seed =
          hash_name(f.name) + 8 * static_cast<std::uint64_t>(world) + 1000 * draw + 77;
      const launch::RunConfig config = moved(resident_run, seed, folder.path());
      INFO(f.name << ", draw " << draw << ": " << text_of(config));
      const Jitter jitter(seed % 1000 + 1);
      const Bits bits = bits_of(config, here(draw == 0 ? Replay::off : Replay::where_it_can));
      REQUIRE(bits.key == expected.key);
      REQUIRE(bits.numbers == expected.numbers);
      REQUIRE(bits.hash == expected.hash);
    }
  }
}

/// The file of a rank as bytes of its own.
class InMemory final : public io::Transfer {
 public:
  explicit InMemory(Bytes size) : bytes_(size) {}
  void read(Bytes offset, std::span<std::byte> into, io::Passing* passing) override {
    std::copy_n(bytes_.data() + offset, into.size(), into.data());
    tell(into.size(), passing);
  }
  void write(Bytes offset, std::span<const std::byte> from, io::Passing* passing) override {
    tell(from.size(), passing);
    std::copy_n(from.data(), from.size(), bytes_.data() + offset);
  }
  [[nodiscard]] std::string name() const override { return "memory"; }

 private:
  static void tell(Bytes size, io::Passing* passing) {
    for (Bytes part = ceil_div(size, io::transfer_part); passing != nullptr && part-- > 0;)
      passing->part(part);
  }
  std::vector<std::byte> bytes_;
};

/// Moments on file in small tiles, with the fault in that of one rank.
Ending end_of(const launch::RunConfig& config, Rank blamed, const FaultPlan& plan) {
  ThreadRun run{.config = config, .job = [](Rank) { return awkward_job(awkward_gpt2(), 99); }};
  run.device_library = device_library;
  run.make_file = [&](Rank rank, Bytes size) {
    const FaultPlan mine = rank == blamed ? plan : FaultPlan{};
    return std::make_unique<io::RecordFile>(
        std::make_unique<FaultyTransfer>(std::make_unique<InMemory>(size), mine), "the file");
  };
  ThreadRanks ranks(run);
  return ranks.run([](ThreadRank& seat) {
    while (seat.engine.steps() < seat.prepared.steps) seat.engine.step();
    static_cast<void>(seat.engine.parameters_hash());
  });
}

launch::RunConfig on_file(int world, plan::UpdateOn site, const TempFolder& folder) {
  launch::RunConfig config = resident(formats[7], world);
  config.batch.steps = 6;
  config.memory.offload_moments = config.memory.offload_master = plan::OffloadOr::file;
  config.memory.offload_tile = 1280;
  config.memory.update_on = site;
  config.sharding.zero_stage = world > 1 ? 2 : 0;
  config.file_tier.offload_dir = folder.path();
  config.file_tier.offload_dir_any = true;
  return config;
}

std::string text_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    return e.what();
  }
}

/// The rank to blame ended with its own error, all others with news of it.
template <class Own>
void check_end(const Ending& ending, Rank blamed, const std::string& words) {
  CHECK(ending.cause.find(words) != std::string::npos);
  for (Rank rank = 0; rank < static_cast<Rank>(ending.thrown.size()); ++rank) {
    CAPTURE(rank);
    const std::exception_ptr& thrown = ending.thrown[static_cast<std::size_t>(rank)];
    REQUIRE(thrown);
    CHECK(text_of(thrown).find(words) != std::string::npos);
    if (rank == blamed) {
      CHECK_THROWS_AS(std::rethrow_exception(thrown), Own);
    } else {
      CHECK_THROWS_AS(std::rethrow_exception(thrown), CommError);
    }
  }
}

const engine::PhaseReport& phase_of(const Bits& bits, const std::string& program,
                                    const std::string& phase) {
  const auto found = std::find_if(bits.phases.begin(), bits.phases.end(), [&](const auto& report) {
    return report.program == program && report.phase == phase;
  });
  REQUIRE(found != bits.phases.end());
  return *found;
}

}  // namespace

TEST_CASE("one rank on a device gives equal bits wherever states live and updates run") {
  SHERD_NEEDS_DEVICE();
  check_placements(1, 4);
}

TEST_CASE("two ranks that share a device give equal bits wherever states live and updates run") {
  SHERD_NEEDS_DEVICE();
  check_placements(2, 4);
}

TEST_CASE("three ranks that share a device give equal bits wherever states live") {
  SHERD_NEEDS_DEVICE();
  check_placements(3, 4);
}

TEST_CASE("a skipped step changes nothing on a device wherever states live") {
  SHERD_NEEDS_DEVICE();
  const TempFolder folder{std::filesystem::current_path()};
  launch::RunConfig config = resident(formats[8], 2);
  config.precision.loss_scale_init = 0x1p24;
  config.precision.loss_scale_hysteresis = 1;
  config.batch.steps = 4;
  const Bits expected = bits_of(config, here());
  REQUIRE(expected.skipped > 0);
  for (std::uint64_t draw = 0; draw < 6; ++draw) {
    const launch::RunConfig other = moved(config, 78 + draw * 1000, folder.path());
    INFO(text_of(other));
    const Jitter jitter(draw + 1);
    const Bits bits = bits_of(other, here());
    REQUIRE(bits.skipped == expected.skipped);
    REQUIRE(bits.numbers == expected.numbers);
    REQUIRE(bits.hash == expected.hash);
  }
}

TEST_CASE("the emulated device with its states elsewhere gives the CPU's own bits in fp32") {
  if (!is_emulated()) {
    std::puts("SKIP: a real device multiplies in another order");
    return;
  }
  launch::RunConfig config = resident(formats[6], 2);
  config.memory.offload_moments = plan::OffloadOr::host;
  config.memory.offload_params = plan::Offload::host;
  const Bits device = bits_of(config, here()), cpu = bits_of(config);
  CHECK(device.numbers == cpu.numbers);
  CHECK(device.hash == cpu.hash);
}

TEST_CASE(
    "a phase is replayed with its copies, and says which of its steps a recording cannot hold") {
  SHERD_NEEDS_DEVICE();
  const TempFolder folder{std::filesystem::current_path()};
  launch::RunConfig config = resident(formats[1], 1);
  config.memory.offload_params = plan::Offload::host;
  config.memory.offload_moments = plan::OffloadOr::host;
  config.memory.offload_grads = plan::OffloadOr::host;
  config.memory.update_on = plan::UpdateOn::device;
  const Bits device = bits_of(config, here());
  for (const engine::PhaseReport& phase : device.phases) {
    INFO(phase.phase << ": " << phase.why_not);
    CHECK((phase.replayed || phase.program == "evaluate"));
  }
  config.memory.update_on = plan::UpdateOn::host;
  const Bits host = bits_of(config, here());
  CHECK(host.hash == device.hash);
  CHECK(phase_of(host, "train", "update").why_not == "its optimizer runs on the host");
  config = on_file(1, plan::UpdateOn::device, folder);
  const Bits file = bits_of(config, here());
  CHECK(phase_of(file, "train", "update").why_not == "it reads and writes files");
}

TEST_CASE("a file that fails on a device ends all ranks with the cause") {
  SHERD_NEEDS_DEVICE();
  const TempFolder folder{std::filesystem::current_path()};
  for (const int world : {1, 3}) {
    for (const plan::UpdateOn site : {plan::UpdateOn::host, plan::UpdateOn::device}) {
      const launch::RunConfig config = on_file(world, site, folder);
      for (const int nth : {100, 222, 401}) {
        CAPTURE(world);
        CAPTURE(nth);
        const Rank blamed = world - 1;
        check_end<DeviceError>(end_of(config, blamed, {TransferFault::fail_read, nth}), blamed,
                               "cannot be read at byte");
        check_end<DeviceError>(end_of(config, blamed, {TransferFault::fail_write, nth}), blamed,
                               "cannot be written at byte");
        check_end<DataError>(end_of(config, blamed, {TransferFault::flip_read, nth, 4100}), blamed,
                             "the file");
      }
    }
  }
}

// With NCCL nobody else would notice a peer that is gone.
TEST_CASE("the communicator is watched while the host waits for its own lanes") {
  SHERD_NEEDS_DEVICE();
  const TempFolder folder{std::filesystem::current_path()};
  for (const plan::UpdateOn site : {plan::UpdateOn::host, plan::UpdateOn::device}) {
    std::atomic<bool> stepping{false}, unwatched{false};
    std::atomic<int> watched{0}, calls{0};
    const auto until_watched = [&] {
      if (++calls % 25 != 0) return;
      const int before = watched;
      const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
      while (stepping && watched == before && !unwatched) {
        if (std::chrono::steady_clock::now() > end) unwatched = true;
        std::this_thread::yield();
      }
    };
    ThreadRun run{.config = on_file(1, site, folder),
                  .job = [](Rank) { return awkward_job(awkward_gpt2(), 99); }};
    run.device_library = device_library;
    run.make_file = [&](Rank, Bytes size) {
      return std::make_unique<io::RecordFile>(
          std::make_unique<FaultyTransfer>(std::make_unique<InMemory>(size),
                                           FaultPlan{.before = until_watched}),
          "the file");
    };
    run.wrap = [&](ThreadRun::Comm comm, const comm::ControlBlock&) {
      return std::make_unique<support::FaultyComm>(
          std::move(comm), [](int) {}, [&] { ++watched; });
    };
    ThreadRanks ranks(run);
    rethrow(ranks.run([&](ThreadRank& seat) {
      stepping = true;
      while (seat.engine.steps() < 2) seat.engine.step();
      seat.engine.drain();
      stepping = false;
    }));
    CHECK_FALSE(unwatched);
  }
}
