#include <sstream>

#include "acceptance/program.hpp"

using namespace sherd::test;

namespace {

/// As the program lists them itself.
std::vector<std::string> presets() {
  const std::string said = run_sherd(words("plan --model no-such-network")).err;
  const std::string before = "resets are ";
  const std::size_t at = said.find(before);
  REQUIRE(at != std::string::npos);
  return words(said.substr(at + before.size(), said.find('\n', at) - at - before.size()));
}

/// Members of the llama family that train a step in milliseconds.
const std::string shrunk[] = {
    "--model llama3.2-1b --heads 4 --kv-heads 2 --width 72 ",
    "--model llama3.1-8b --heads 3 --kv-heads 3 --width 72 ",
    "--model qwen2.5-0.5b --heads 3 --kv-heads 1 --head-dim 16 --width 72 ",
    "--model qwen3-0.6b --heads 4 --kv-heads 2 --head-dim 30 --width 72 "};
constexpr const char* sizes =
    "--layers 2 --ffn-width 100 --vocab-size 259 --context 33 --steps 4 --lr 1e-3 --micro-batch 4 ";

Training train(const Bench& bench, const std::string& flags) {
  return bench.logged(words("train " + flags) + Words{"--data", bench.text});
}

}  // namespace

TEST_CASE("every preset plans for machines that are not here") {
  const std::vector<std::string> names = presets();
  CHECK(names.size() == 18);
  for (const std::string& name : names) {
    CAPTURE(name);
    const Outcome outcome = run_sherd(words(
        "plan --json --world 64 --zero-stage 3 --precision bf16 --micro-batch 1 --seq-len 128 "
        "--memory-limit 100GiB --model " +
        name));
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
    const Json persistent = Json::parse(outcome.out).at("persistent");
    CHECK(persistent.at("optimizer") == 6 * persistent.at("params").get<std::uint64_t>());
  }
}

TEST_CASE("stage, overlap and recompute change no bit of a llama or a qwen") {
  const Bench bench;
  for (const std::string& network : shrunk) {
    CAPTURE(network);
    const std::string ranks = network + sizes + "--ranks 2 --grad-accum 2 --reduce-every micro ";
    const Training plain = train(bench, ranks + "--overlap off");
    for (const std::string more :
         {"--zero-stage 1 --recompute block", "--zero-stage 2 --overlap on --threads 2",
          "--zero-stage 3 --overlap on --recompute selective --bucket-bytes 50000"}) {
      CAPTURE(more);
      check_same(plain, train(bench, ranks + more));
    }
  }
}

TEST_CASE("a llama in 16 bits learns what it learns in 32") {
  const Bench bench;
  for (const std::string& network : shrunk) {
    CAPTURE(network);
    const std::string flags = network + sizes + "--ranks 2 --zero-stage 3 ";
    const std::vector<Json> exact = train(bench, flags).steps();
    for (const std::string more : {"--precision bf16", "--precision fp16"}) {
      CAPTURE(more);
      const std::vector<Json> rounded = train(bench, flags + more).steps();
      for (std::size_t i = 0; i < exact.size(); ++i)
        CHECK(std::abs(rounded[i].at("loss").get<double>() - exact[i].at("loss").get<double>()) <
              0.05);
    }
  }
}
