#include <array>
#include <cstdint>
#include <filesystem>

#include "acceptance/program.hpp"

using namespace sherd::test;

namespace {

std::string little(std::uint64_t value, std::size_t bytes) {
  std::string text;
  for (std::size_t i = 0; i < bytes; ++i) text.push_back(static_cast<char>(value >> (8 * i)));
  return text;
}

std::string npy(std::string header, const std::string& data) {
  header += '\n';
  return std::string("\x93NUMPY\x01\0", 8) + little(header.size(), 2) + header + data;
}

/// Trains on `path`; must be exit code 4, told on stderr, with nothing written.
std::string refusal(const Bench& bench, const Words& more) {
  const std::string log = bench.folder.file("log");
  const Outcome outcome = run_sherd(words("train --steps 1 --log " + log) + more);
  INFO(outcome.err);
  CHECK(outcome.code == 4);
  CHECK(outcome.out.empty());
  CHECK_FALSE(outcome.err.empty());
  CHECK_FALSE(std::filesystem::exists(log));
  return outcome.err;
}

std::string refused_data(const Bench& bench, const std::string& name, const std::string& content) {
  CAPTURE(name);
  return refusal(bench, words(small) + Words{"--data", bench.folder.write(name, content)});
}

std::string of_tokens(const std::vector<std::uint16_t>& tokens) {
  return {reinterpret_cast<const char*>(tokens.data()), tokens.size() * 2};
}

const std::string good_header = "{'descr': '<u2', 'fortran_order': False, 'shape': (100,), }";

}  // namespace

TEST_CASE("data that is absent, empty or too short is exit code 4") {
  const Bench bench;
  refused_data(bench, "empty.txt", "");
  refused_data(bench, "short.txt", std::string(33, 'a'));
  refusal(bench, words(small) + Words{"--data", bench.folder.file("absent")});
  std::filesystem::create_directory(bench.folder.file("hollow"));
  refusal(bench, words(small) + Words{"--data", bench.folder.file("hollow")});
  const std::string both =
      refusal(bench, words(small) + Words{"--data", "/no/a", bench.text, "/no/b"});
  CHECK(both.find("/no/a") != std::string::npos);
  CHECK(both.find("/no/b") != std::string::npos);
  refusal(bench, words(small) + Words{"--data", "/dev/zero"});
}

TEST_CASE("a token outside the vocabulary is exit code 4 with its place") {
  const Bench bench;
  std::vector<std::uint16_t> tokens(100, 7);
  tokens[61] = 259;
  const std::string array = refused_data(bench, "t.npy", npy(good_header, of_tokens(tokens)));
  CHECK(array.find("259") != std::string::npos);
  CHECK(array.find(std::to_string(10 + good_header.size() + 1 + 2 * 61)) != std::string::npos);
  const std::string file = refused_data(bench, "t.bin",
                                        little(20240520, 4) + little(1, 4) + little(100, 4) +
                                            std::string(1012, '\0') + of_tokens(tokens));
  CHECK(file.find("259") != std::string::npos);
  CHECK(file.find(std::to_string(1024 + 2 * 61)) != std::string::npos);
  refusal(bench, words("--layers 1 --width 24 --heads 3 --vocab-size 64 --seq-len 33 --data " +
                       bench.text));
}

TEST_CASE("malformed token files are exit code 4") {
  const Bench bench;
  const std::string data(200, '\1');
  refused_data(bench, "a.npy", "");
  refused_data(bench, "b.npy", "\x93NUM");
  refused_data(bench, "c.npy", std::string("\x93NUMPY\x02\0", 8) + little(0xfffffff0, 4) + data);
  refused_data(bench, "d.npy", npy(good_header, data.substr(0, 150)));
  refused_data(bench, "e.npy",
               npy("{'descr': '<f4', 'fortran_order': False, 'shape': (50,), }", data));
  refused_data(bench, "f.npy",
               npy("{'descr': '|O', 'fortran_order': False, 'shape': (50,), }", data));
  refused_data(bench, "g.npy", npy("{'shape': (99999999999999999999,), 'descr': '<u2'}", data));
  refused_data(bench, "h.npy",
               npy("{'descr': '<u2', 'fortran_order': False, 'shape': (-100,), }", data));
  refused_data(
      bench, "i.npy",
      npy("{'descr': '<u2', 'fortran_order': False, 'shape': (9223372036854775807,), }", data));
  refused_data(bench, "a.bin", "");
  refused_data(bench, "b.bin", little(20240520, 4));
  refused_data(bench, "c.bin", std::string(2000, 'x'));
  refused_data(
      bench, "d.bin",
      little(20240520, 4) + little(1, 4) + little(0xffffffff, 4) + std::string(1012, '\0') + data);
  refused_data(
      bench, "e.bin",
      little(20240520, 4) + little(1, 4) + little(101, 4) + std::string(1012, '\0') + data);
  refused_data(
      bench, "f.bin",
      little(20240520, 4) + little(9, 4) + little(100, 4) + std::string(1012, '\0') + data);
}

TEST_CASE("malformed model folders are exit code 4") {
  const Bench bench;
  namespace fs = std::filesystem;
  const std::string fixture = std::string(FIXTURES) + "/gpt2_parity";
  const std::string folder = bench.folder.file("model");
  fs::create_directory(folder);
  const Words flags{"--model", folder, "--data", fixture + "/tokens.npy"};
  const auto write = [&](const std::string& name, const std::string& text) {
    bench.folder.write("model/" + name, text);
  };
  refusal(bench, flags);  // no config.json
  std::ostringstream config;
  config << std::ifstream(fixture + "/config.json").rdbuf();
  for (const std::string& text :
       {std::string(), std::string("{"), std::string("[]"),
        std::string("{\"model_type\": \"bert\"}"),
        std::string("{\"model_type\": \"gpt2\", \"n_embd\": -4}"),
        std::string("{\"model_type\": \"gpt2\", \"n_embd\": 1e300, \"n_layer\": 2, \"n_head\": 3}"),
        std::string(200000, '{')}) {
    CAPTURE(text.substr(0, 60));
    write("config.json", text);
    refusal(bench, flags);
  }
  write("config.json", config.str());
  refusal(bench, flags);  // no weights
  const std::string two =
      R"({"transformer.wte.weight":{"dtype":"F32","shape":[64,48],"data_offsets":[0,12288]},)"
      R"("transformer.wpe.weight":{"dtype":"F32","shape":[16,48],"data_offsets":[6000,9072]}})";
  for (const std::string& weights :
       {std::string(), little(~std::uint64_t{0}, 8), little(1 << 30, 8) + "{}", little(2, 8) + "{}",
        little(3, 8) + "{]}", little(two.size(), 8) + two + std::string(12288, '\0')}) {
    write("model.safetensors", weights);
    refusal(bench, flags);
  }
  std::ostringstream whole;
  whole << std::ifstream(fixture + "/model.safetensors", std::ios::binary).rdbuf();
  write("model.safetensors", whole.str().substr(0, whole.str().size() - 1));
  refusal(bench, flags);
  write("model.safetensors", whole.str());
  CHECK(run_sherd(words("train --steps 1 --quiet --global-batch 4") + flags).code == 0);
}

TEST_CASE("a file that may not be read is exit code 4 and named") {
  const Bench bench;
  const std::string path = bench.folder.write("secret.txt", sentences(100));
  std::filesystem::permissions(path, std::filesystem::perms::none);
  if (access(path.c_str(), R_OK) == 0) {
    MESSAGE("SKIP: this user may read everything");
    return;
  }
  CHECK(refusal(bench, words(small) + Words{"--data", path}).find("secret.txt") !=
        std::string::npos);
}
