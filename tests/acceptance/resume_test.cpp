// Saving and going on, as a user does it.
#include <algorithm>
#include <filesystem>
#include <fstream>

#include "acceptance/program.hpp"

using namespace sherd::test;
namespace fs = std::filesystem;

namespace {

const std::string base = "--lr 1e-3 --micro-batch 2 --clip-grad-norm 1 ";

struct Saves {
  ScratchFolder folder;
  std::string path = folder.file("saves");
  [[nodiscard]] std::string flags(const std::string& more = {}) const {
    return " --save " + path + " " + more + " ";
  }
  [[nodiscard]] std::string at(int step) const {
    const std::string digits = std::to_string(step);
    return path + "/step-" + std::string(12 - digits.size(), '0') + digits;
  }
  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const auto& entry : fs::directory_iterator(path)) all.push_back(entry.path().filename());
    std::sort(all.begin(), all.end());
    return all;
  }
  /// Changes one byte in the middle of a file.
  void damage(const std::string& file) const {
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    const auto middle = static_cast<std::streamoff>(fs::file_size(file) / 2);
    stream.seekg(middle);
    const char byte = static_cast<char>(stream.get() ^ 0x10);
    stream.seekp(middle);
    stream.put(byte);
  }
};

}  // namespace

TEST_CASE("a run saves as it is told, says so, and plans the memory it takes") {
  const Bench bench;
  const Saves saves;
  const std::string flags =
      base + "--steps 5 --ranks 2 --zero-stage 2" + saves.flags("--save-every 2");
  const Training run = bench.train(flags);
  const std::vector<Json> said = events(run.log, "checkpoint");
  REQUIRE(said.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    const int step = i == 2 ? 5 : 2 * static_cast<int>(i + 1);
    CHECK(said[i].at("step") == step);
    CHECK(said[i].at("path") == saves.at(step));
    std::uintmax_t bytes = 0;
    for (const auto& entry : fs::directory_iterator(saves.at(step))) bytes += entry.file_size();
    CHECK(said[i].at("bytes") == bytes);
    CHECK(said[i].at("stall_seconds") >= 0);
    CHECK(said[i].at("commit_seconds") > 0);
  }
  CHECK(saves.names().size() == 3);
  for (const char* tier : {"device", "host", "file"}) {
    CHECK(run.start().at("plan").at(tier) == bench.plan(flags).at("plan").at(tier));
    CHECK(run.end().at("peak").at(tier) == run.start().at("plan").at(tier));
  }
  for (const auto& entry : fs::recursive_directory_iterator(saves.path)) {
    const fs::perms others = fs::perms::group_all | fs::perms::others_all;
    CHECK((entry.status().permissions() & others) == fs::perms::none);
  }
}

TEST_CASE("a run that goes on ends as the run that never stopped") {
  const Bench bench;
  const Saves saves;
  const Training whole = bench.train(base + "--steps 6");
  (void)bench.train(base + "--steps 6" + saves.flags("--save-every 3"));
  fs::remove_all(saves.at(6));
  const Training again = bench.train(base + "--steps 6" + saves.flags("--resume latest"));
  CHECK(again.hash() == whole.hash());
  CHECK(again.key() == whole.key());
  // The log goes on too.
  const std::vector<Json> starts = events(again.log, "start");
  REQUIRE(starts.size() == 2);
  CHECK(!starts[0].contains("resumed"));
  CHECK(starts[1].at("resumed").at("step") == 3);
  CHECK(events(again.log, "step").size() == 9);
}

TEST_CASE("under canonical sums any number of ranks, stage and tier goes on with the same bits") {
  const Bench bench;
  const Saves saves;
  const std::string key =
      "--lr 1e-3 --micro-batch 1 --global-batch 6 --reduce-order canonical "
      "--steps 4 ";
  const Training whole = bench.train(key);
  (void)bench.train(key + "--ranks 2 --zero-stage 3" + saves.flags("--save-every 2"));
  const std::string from = "--resume " + saves.at(2);
  for (const std::string other :
       {"--ranks 3 --zero-stage 1 ", "--ranks 1 --offload-optimizer host ",
        "--ranks 6 --zero-stage 2 "})
    CHECK(bench.train(key + other + from).hash() == whole.hash());
}

TEST_CASE("a finished run goes on to its end, which is at once") {
  const Bench bench;
  const Saves saves;
  const Training first = bench.train(base + "--steps 2" + saves.flags());
  const std::string log = bench.folder.file("again.jsonl");
  const Outcome outcome = run_sherd(
      bench.small_run(base + "--steps 2" + saves.flags("--resume latest")) + Words{"--log", log});
  CHECK(outcome.code == 0);
  const std::vector<Json> said = events(log);
  REQUIRE(said.size() == 2);
  CHECK(said[0].at("event") == "start");
  CHECK(said[1].at("event") == "end");
  CHECK(said[1].at("parameters_hash") == first.hash());
}

TEST_CASE("latest passes over what is damaged, by name, and none that is good is an error") {
  const Bench bench;
  const Saves saves;
  const Training whole = bench.train(base + "--steps 6" + saves.flags("--save-every 2"));
  saves.damage(saves.at(6) + "/rank-000.bin");
  saves.damage(saves.at(4) + "/manifest.json");
  const Words again = bench.small_run(base + "--steps 6" + saves.flags("--resume latest"));
  const Outcome outcome = run_sherd(again + Words{"--log", bench.folder.file("again.jsonl")});
  CHECK(outcome.code == 0);
  CHECK(outcome.err.find("passing over " + saves.at(6)) != std::string::npos);
  CHECK(outcome.err.find("passing over " + saves.at(4)) != std::string::npos);
  CHECK(outcome.err.find("holds a newer checkpoint") == std::string::npos);  // a damaged one
  CHECK(events(bench.folder.file("again.jsonl")).back().at("parameters_hash") == whole.hash());
  for (const int step : {2, 6}) saves.damage(saves.at(step) + "/manifest.json");
  const Outcome none = run_sherd(again);
  CHECK(none.code == 4);
  CHECK(none.err.find("none of the 3 checkpoints") != std::string::npos);
}

TEST_CASE("latest without a checkpoint starts at step 0 and says so") {
  const Bench bench;
  const Saves saves;
  const Outcome outcome =
      run_sherd(bench.small_run(base + "--steps 1" + saves.flags("--resume latest")));
  CHECK(outcome.code == 0);
  CHECK(outcome.err.find("no checkpoint in") != std::string::npos);
  CHECK(saves.names().size() == 1);
}

TEST_CASE("what does not belong together is refused") {
  const Bench bench;
  const Saves saves, other;
  (void)bench.train(base + "--steps 2" + saves.flags());
  (void)bench.train(base + "--steps 2 --seed 5" + other.flags());
  const auto refused = [&](const std::string& flags, int code, const std::string& text) {
    CAPTURE(flags);
    const Outcome outcome = run_sherd(bench.small_run(base + flags));
    CHECK(outcome.code == code);
    CHECK(outcome.err.find(text) != std::string::npos);
  };
  refused("--steps 2" + saves.flags(), 2, "holds checkpoints of another run");
  refused("--steps 3" + saves.flags("--resume " + other.at(2)), 2, "of another run");
  refused("--steps 3 --resume " + saves.path + "/nothing", 4, "open failed");
  refused("--steps 3 --resume " + saves.path, 4, "such as " + saves.at(2));
  const std::string untouched = bench.folder.file("untouched");
  refused("--steps 3 --resume " + saves.path + "/nothing --save " + untouched, 4, "open failed");
  CHECK_FALSE(std::filesystem::exists(untouched));
  refused("--steps 3 --resume latest", 2, "--resume latest: needs --save");
  refused("--steps 3 --ffn-width 96 --resume " + saves.at(2), 4, "another model");
  refused("--steps 3 --freeze embed.* --resume " + saves.at(2), 2, "--freeze: got 'embed.*', but");
  refused("--steps 3 --freeze embed.* --freeze layer9.*", 2, "'layer9.*' names no parameter");
  refused("--steps 3 --keep 2", 2, "--keep: needs --save");
  refused("--steps 3 --save-every 3x" + saves.flags(), 2, "need a number of steps or auto");
  const std::string text = bench.folder.write("other.txt", sentences(300));
  const Outcome data = run_sherd(
      words("train " + small + base + "--steps 3 --resume " + saves.at(2)) + Words{"--data", text});
  CHECK(data.code == 4);
  CHECK(data.err.find("other data") != std::string::npos);
}

TEST_CASE("changed hyper-parameters apply and are listed") {
  const Bench bench;
  const Saves saves;
  (void)bench.train(base + "--steps 2" + saves.flags());
  const Outcome outcome =
      run_sherd(bench.small_run("--micro-batch 2 --clip-grad-norm 1 --lr 5e-4 --steps 3 --resume " +
                                saves.at(2)) +
                Words{"--log", bench.folder.file("log")});
  CHECK(outcome.code == 0);
  CHECK(outcome.err.find("--lr 0.001 -> 5e-04") != std::string::npos);
  CHECK(events(events(bench.folder.file("log")), "step").front().at("lr") == 5e-4);
}

TEST_CASE("old checkpoints go when they are told to, the newest never") {
  const Bench bench;
  const Saves saves;
  (void)bench.train(base + "--steps 5" + saves.flags("--save-every 1 --keep 2"));
  CHECK(saves.names() == std::vector<std::string>{"step-000000000004", "step-000000000005"});
}
