#include "acceptance/program.hpp"

using namespace sherd::test;

namespace {

// Losses and norms PyTorch computed in fp64 (tests/fixtures/gpt2_parity/README.md).
void check_trace(const Training& run, const Json& trace) {
  constexpr double tolerance = 2e-4;
  const std::vector<Json> steps = run.steps();
  REQUIRE(steps.size() == trace.at("steps").size());
  for (std::size_t i = 0; i < steps.size(); ++i) {
    CAPTURE(i);
    for (const char* key : {"loss", "grad_norm"}) {
      const double wanted = trace.at("steps")[i].at(key);
      CHECK(std::abs(steps[i].at(key).get<double>() - wanted) <= tolerance * wanted);
    }
  }
}

}  // namespace

TEST_CASE("a Hugging Face folder trains as PyTorch trains it") {
  const Bench bench;
  const std::string flags =
      "train --steps 8 --global-batch 4 --seq-len 16 --lr 1e-3 --beta1 0.9 --beta2 0.999 "
      "--eps 1e-8 --weight-decay 0.1 ";
  const auto check = [&](const std::string& network, const std::string& more) {
    CAPTURE(network);
    CAPTURE(more);
    const std::string folder = std::string(FIXTURES) + "/" + network + "_parity";
    const Json expected = Json::parse(std::ifstream(folder + "/expected.json"));
    const Words from{"--model", folder, "--data", folder + "/tokens.npy"};
    check_trace(bench.logged(words(flags + more) + from), expected.at("trace"));
    check_trace(bench.logged(words(flags + more + " --clip-grad-norm 0.5") + from),
                expected.at("trace_clipped"));
  };
  for (const std::string more :
       {"", "--ranks 2 --zero-stage 3", "--ranks 4 --zero-stage 2 --overlap on",
        "--grad-accum 2 --recompute block", "--ranks 2 --zero-stage 1 --grad-accum 2"})
    check("gpt2", more);
  for (const std::string network : {"llama", "llama_tied", "qwen2", "qwen3"})
    for (const std::string more : {"", "--ranks 2 --zero-stage 3 --recompute selective"})
      check(network, more);
}

TEST_CASE("random weights for a folder's network must be asked for") {
  const Bench bench;
  std::filesystem::copy_file(std::string(FIXTURES) + "/gpt2_parity/config.json",
                             bench.folder.file("config.json"));
  std::filesystem::remove(bench.text);
  const Words flags{"train",
                    "--steps",
                    "1",
                    "--model",
                    bench.folder.file(""),
                    "--data",
                    std::string(FIXTURES) + "/gpt2_parity/tokens.npy"};
  const Outcome refused = run_sherd(flags);
  CHECK(refused.code == 4);
  CHECK(refused.err.find("--random-init") != std::string::npos);
  CHECK(run_sherd(flags + Words{"--random-init"}).code == 0);
}
