// Text from the program, as a user asks for it.
#include <algorithm>
#include <filesystem>
#include <fstream>

#include "acceptance/program.hpp"

using namespace sherd::test;

namespace {

Outcome generate(const Words& flags) { return run_sherd(Words{"generate"} + flags); }

Json json_of(const Words& flags) {
  const Outcome outcome = generate(flags + Words{"--json"});
  INFO(outcome.err);
  REQUIRE(outcome.code == 0);
  return Json::parse(outcome.out);
}

std::string listed(const Json& tokens) {
  std::string text;
  for (const Json& token : tokens) text += (text.empty() ? "" : ",") + token.dump();
  return text;
}

/// A folder of checkpoints of a tiny network that has seen some text.
struct Trained {
  Bench bench;
  std::string saves = bench.folder.file("saves");
  Trained() {
    (void)bench.train("--steps 40 --lr 3e-3 --micro-batch 8 --ranks 2 --zero-stage 3 --save " +
                      saves);
  }
  [[nodiscard]] Words from(const std::string& more) const {
    return Words{"--checkpoint", saves, "--prompt", "sentence 4"} + words(more);
  }
};

}  // namespace

TEST_CASE("greedy tokens of the program are those of transformers") {
  for (const std::string name : {"gpt2", "llama", "llama_tied", "qwen2", "qwen3"}) {
    CAPTURE(name);
    const std::string folder = std::string(FIXTURES) + "/" + name + "_parity";
    const Json expected = Json::parse(std::ifstream(folder + "/expected.json")).at("generation");
    const Json found = json_of({"--model", folder, "--prompt-tokens", listed(expected.at("prompt")),
                                "--max-tokens", std::to_string(expected.at("tokens").size()),
                                "--temperature", "0", "--threads", "2"});
    CHECK(found.at("tokens") == expected.at("tokens"));
    CHECK(found.at("end") == "max_tokens");
  }
}

TEST_CASE("a checkpoint goes on with a text, alike for equal seeds and any threads") {
  const Trained trained;
  const Words flags = trained.from("--max-tokens 20 --seed 3 --temperature 0.8 --top-k 20");
  const Outcome text = generate(flags);
  INFO(text.err);
  REQUIRE(text.code == 0);
  CHECK(text.err.find("of the memory that is free") != std::string::npos);
  const Json json = json_of(flags + words("--threads 1"));
  CHECK(text.out == json.at("text").get<std::string>() + "\n");
  CHECK(json.at("tokens").size() == 20);
  CHECK(json.at("prompt_tokens").size() == 10);
  CHECK(json_of(flags + words("--threads 3")).at("tokens") == json.at("tokens"));
  CHECK(json_of(trained.from("--max-tokens 20 --seed 4 --temperature 0.8")).at("tokens") !=
        json.at("tokens"));
  CHECK(json_of(flags + words("--dtype bf16")).at("memory").at("weights") <
        json.at("memory").at("weights"));
  // Hot bytes are hardly ever UTF-8; strict JSON takes what comes of them.
  const Outcome hot = generate(trained.from("--max-tokens 23 --temperature 9 --quiet"));
  CHECK(hot.err.empty());
  CHECK_NOTHROW((void)Json(hot.out).dump());
}

TEST_CASE("text ends at the context, at a stop text, after its tokens, and says which") {
  const Trained trained;
  const Json whole = json_of(trained.from("--max-tokens 1000 --temperature 0"));
  CHECK(whole.at("end") == "context");  // of the model; samples had 33 tokens
  CHECK(whole.at("tokens").size() == 128 - 10 + 1);
  const std::string text = whole.at("text");
  REQUIRE(text.size() > 8);
  const std::string stop = text.substr(5, 2);
  const Json cut = json_of(trained.from("--max-tokens 1000 --temperature 0 --stop never") +
                           Words{"--stop", stop});
  CHECK(cut.at("end") == "stop");
  CHECK(cut.at("text") == text.substr(0, text.find(stop)));
  CHECK(json_of(trained.from("--max-tokens 1")).at("tokens").size() == 1);
}

TEST_CASE(
    "a checkpoint's text is read as its run read it, and a tokenizer of another network is "
    "refused") {
  const Bench bench;
  const std::string saves = bench.folder.file("saves"), own = bench.folder.file("own.json"),
                    tokenizers = std::string(FIXTURES) + "/tokenizers";
  std::filesystem::copy_file(tokenizers + "/gpt2.json", own);
  (void)bench.logged(words("train --layers 2 --width 72 --heads 3 --vocab-size 1814 --seq-len 33 "
                           "--steps 1 --tokenizer " +
                           own + " --save " + saves) +
                     Words{"--data", bench.text});
  const Words flags = {"--checkpoint", saves, "--prompt", "hello there", "--max-tokens", "2"};
  const Json asked = json_of(flags + Words{"--tokenizer", own}), found = json_of(flags);
  CHECK(found.at("prompt_tokens") == asked.at("prompt_tokens"));
  CHECK(found.at("prompt_tokens") !=
        json_of(flags + words("--tokenizer bytes")).at("prompt_tokens"));
  const Outcome other = generate(flags + Words{"--tokenizer", tokenizers + "/llama3.json"});
  CHECK(other.code == 4);
  CHECK(other.err.find("need at most the network's 1814") != std::string::npos);
  const auto tokens_of = [&](const std::string& seed) {
    return json_of(flags + words("--temperature 3 --seed " + seed)).at("tokens");
  };
  CHECK(tokens_of("010") == tokens_of("10"));
  CHECK(tokens_of("010") != tokens_of("8"));
  std::filesystem::remove(own);
  const Outcome shown =
      generate(Words{"--checkpoint", saves, "--prompt-tokens", "1,2"} + words("--max-tokens 2"));
  CHECK(shown.code == 0);
  CHECK(shown.err.find(own + " is not here") != std::string::npos);
  const Outcome gone = generate(flags);
  CHECK(gone.code == 4);
  CHECK(gone.err.find("was trained with --tokenizer " + own) != std::string::npos);
}

TEST_CASE("an end token of the folder ends a text and is not shown") {
  const ScratchFolder copy;
  const std::string path = copy.file(".");
  const std::string folder = std::string(FIXTURES) + "/gpt2_parity";
  for (const char* file : {"/config.json", "/model.safetensors"}) {
    std::ifstream from(folder + file, std::ios::binary);
    std::ofstream(path + file, std::ios::binary) << from.rdbuf();
  }
  copy.write("generation_config.json", R"({"eos_token_id": [3, 7]})");
  const Json found =
      json_of({"--model", path, "--prompt-tokens", "17,52,16,26", "--temperature", "0"});
  CHECK(found.at("end") == "end_token");
  CHECK(found.at("tokens") == Json({26, 44, 7}));
  CHECK(found.at("text") == "\x1a,");
  copy.write("generation_config.json", R"({"eos_token_id": 64})");
  CHECK(generate({"--model", path, "--prompt-tokens", "1"}).code == 4);
}

TEST_CASE("bad input ends with its exit code and says all that is wrong") {
  const Outcome flags = generate(words("--top-p 1.5 --temperature -1 --top-k -1 --max-tokens 0"));
  CHECK(flags.code == 2);
  for (const char* word : {"--top-p", "--temperature", "--top-k", "--max-tokens", "--prompt",
                           "need either --model or --checkpoint"})
    CHECK(flags.err.find(word) != std::string::npos);
  const std::string folder = std::string(FIXTURES) + "/gpt2_parity";
  const Words good = {"--model", folder, "--prompt-tokens", "1,2"};
  CHECK(generate(good + words("--device cuda")).code == 2);
  CHECK(generate(good + words("--dtype int8")).code == 2);
  for (const std::string number : {"--seed -1", "--seed 99999999999999999999", "--max-tokens 1.5"})
    CHECK(generate(good + words(number)).err.find("need a whole number") != std::string::npos);
  CHECK(generate(good + Words{"--stop", ""}).code == 2);
  CHECK(generate(good + words("--top-q 1")).err.find("did you mean --top-") != std::string::npos);
  CHECK(generate({"--model", "gpt2-tinny", "--prompt", "x"}).code == 2);
  CHECK(generate({"--model", "gpt2-tiny", "--prompt", "x"}).code == 2);  // has no weights
  CHECK(generate({"--model", "gpt2-tiny", "--random-init", "--prompt", "x", "--max-tokens", "2"})
            .code == 0);
  CHECK(generate({"--model", folder, "--prompt", ""}).code == 2);
  CHECK(generate({"--model", folder, "--prompt-tokens", "64"}).code == 2);
  CHECK(generate({"--model", folder, "--prompt", "z"}).code == 4);  // byte 122 of 64 tokens
  CHECK(generate({"--model", folder, "--prompt", std::string(17, '!')}).code == 2);
  CHECK(generate({"--checkpoint", folder, "--prompt", "x"}).code == 4);
  CHECK(generate({"--checkpoint", "/nowhere", "--prompt", "x"}).code == 4);
  CHECK(generate(good + Words{"--tokenizer", "/nowhere"}).code == 4);
}
