#include <cstdint>
#include <filesystem>

#include "acceptance/program.hpp"

using namespace sherd::test;

namespace {

template <class T>
std::string raw(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

/// A version 1.0 .npy file of one dimension.
std::string npy(const std::string& type, std::size_t count, const std::string& data) {
  std::string header = "{'descr': '" + type + "', 'fortran_order': False, 'shape': (" +
                       std::to_string(count) + ",), }";
  header.append(63 - (header.size() + 10) % 64, ' ').append("\n");
  std::string file = "\x93NUMPY\x01";
  file.push_back('\0');
  file.push_back(static_cast<char>(header.size() & 0xff));
  file.push_back(static_cast<char>(header.size() >> 8));
  return file + header + data;
}

/// An llm.c token file: 256 int32, of which magic, version and count are used, then tokens.
std::string llm_c(std::int32_t magic, std::size_t count, const std::string& data) {
  std::vector<std::int32_t> header(256, 0);
  header[0] = magic;
  header[1] = magic == 20240520 ? 1 : 7;
  header[2] = static_cast<std::int32_t>(count);
  return raw(header) + data;
}

template <class T>
std::vector<T> tokens(const std::string& text) {
  std::vector<T> all;
  for (const char c : text) all.push_back(static_cast<unsigned char>(c));
  return all;
}

void check_same_losses(const Training& a, const Training& b) {
  const std::vector<Json> left = a.steps(), right = b.steps();
  REQUIRE(left.size() == right.size());
  for (std::size_t i = 0; i < left.size(); ++i) CHECK(left[i].at("loss") == right[i].at("loss"));
  CHECK(a.hash() == b.hash());
}

}  // namespace

TEST_CASE("token files and folders train as the text they hold") {
  const Bench bench;
  const std::string text = sentences(60);
  const std::string plain = bench.folder.write("plain", text);
  const std::string flags = "train " + small + "--steps 4 --micro-batch 4";
  const auto train = [&](const std::string& path) {
    return bench.logged(words(flags) + Words{"--data", path});
  };
  const Training expected = train(plain);
  const std::size_t n = text.size();
  const std::string narrow = raw(tokens<std::uint16_t>(text)),
                    wide = raw(tokens<std::uint32_t>(text));
  check_same_losses(expected, train(bench.folder.write("a.npy", npy("<u2", n, narrow))));
  check_same_losses(expected, train(bench.folder.write("b.npy", npy("<u4", n, wide))));
  check_same_losses(expected, train(bench.folder.write("a.bin", llm_c(20240520, n, narrow))));

  std::filesystem::create_directory(bench.folder.file("folder"));
  bench.folder.write("folder/1.txt", text.substr(0, n / 2));
  bench.folder.write("folder/2.txt", text.substr(n / 2));
  bench.folder.write("folder/.hidden", "never read");
  const Training folder = train(bench.folder.file("folder"));
  CHECK(folder.steps().front().at("tokens") == 4 * 33);
}

TEST_CASE("labels beside a token file are the targets and those of -100 do not count") {
  const Bench bench;
  const std::string text = sentences(30);
  const std::size_t n = text.size();
  std::vector<std::int32_t> labels;
  for (std::size_t i = 0; i < n; ++i)
    labels.push_back(i % 3 == 0 ? -100 : static_cast<unsigned char>(text[i]));
  std::filesystem::create_directory(bench.folder.file("one"));
  const std::string path =
      bench.folder.write("one/tokens.npy", npy("<u2", n, raw(tokens<std::uint16_t>(text))));
  const std::string flags =
      "train " + small + "--steps 2 --micro-batch 4 --ranks 2 --zero-stage 3 --data " + path;
  const Training unmasked = bench.logged(words(flags));
  bench.folder.write("one/labels.npy", npy("<i4", n, raw(labels)));
  const Training masked = bench.logged(words(flags));
  CHECK(unmasked.steps()[0].at("tokens") == 8 * 33);
  const std::uint64_t counted = masked.steps()[0].at("tokens");
  CHECK(counted == 8 * 22);  // each window of 33 holds 11 multiples of three
  CHECK(masked.key() != unmasked.key());
}

TEST_CASE("evaluation comes every so many steps and at the end, and changes no weight") {
  const Bench bench;
  const std::string held = bench.folder.write("held.txt", sentences(20));
  const Training with = bench.train("--steps 5 --ranks 2 --eval-every 2 --val-data " + held);
  const Training without = bench.train("--steps 5 --ranks 2");
  const std::vector<Json> evals = events(with.log, "eval");
  REQUIRE(evals.size() == 3);
  CHECK(evals[0].at("step") == 2);
  CHECK(evals[1].at("step") == 4);
  CHECK(evals[2].at("step") == 5);
  CHECK(evals[2].at("loss").get<double>() < evals[0].at("loss").get<double>());
  CHECK(with.hash() == without.hash());
  const Training sharded =
      bench.train("--steps 5 --ranks 2 --zero-stage 3 --eval-every 2 --val-data " + held);
  CHECK(events(sharded.log, "eval") == evals);
}

TEST_CASE("epochs see every window once each") {
  const Bench bench;
  const std::string text = bench.folder.write("short.txt", sentences(10));
  const std::uint64_t windows = (sentences(10).size() - 1) / 33;
  const std::uint64_t steps = (windows + 7) / 8;
  for (const std::string ranks : {"1", "2"}) {
    const Training run = bench.logged(words(
        "train " + small + "--epochs 3 --global-batch 8 --ranks " + ranks + " --data " + text));
    CHECK(run.end().at("steps") == 3 * steps);
    std::uint64_t tokens = 0;
    for (const Json& step : run.steps()) tokens += step.at("tokens").get<std::uint64_t>();
    CHECK(tokens == 3 * windows * 33);
  }
}
