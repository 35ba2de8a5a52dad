#include "sherd/data/tokens.hpp"

#include <doctest/doctest.h>

#include <numeric>

#include "data/tokens_case.hpp"
#include "sherd/base/errors.hpp"

namespace sherd::data {
namespace {

using test::bytes_of;
using test::contains;
using test::count_up;
using test::read_sample;
using test::Row;

TEST_CASE("Text gives its bytes, windows of T and labels one later") {
  const test::TempFolder folder;
  const std::string path = folder.write("a.txt", "abcdefg\xff");
  const auto source = open_tokens({path}, {.seq_len = 3, .vocab_size = 256});
  CHECK(source->tokens() == 8);
  CHECK(source->samples() == 2);
  CHECK(source->shape().input_cols == 3);
  CHECK(source->shape().label_type == DType::i32);
  CHECK(read_sample(*source, 0).inputs == Row{'a', 'b', 'c'});
  CHECK(read_sample(*source, 0).labels == Row{'b', 'c', 'd'});
  CHECK(read_sample(*source, 1).inputs == Row{'d', 'e', 'f'});
  CHECK(read_sample(*source, 1).labels == Row{'e', 'f', 'g'});
  const auto whole = open_tokens({path}, {.seq_len = 7, .vocab_size = 256});
  CHECK(read_sample(*whole, 0).labels.back() == 255);
}

TEST_CASE("The number of windows is floor((n - 1) / T) for every size") {
  const test::TempFolder folder;
  for (std::size_t n = 2; n <= 40; ++n) {
    const std::string path = folder.write("n.txt", std::string(n, 'x'));
    for (std::int64_t length = 1; length < static_cast<std::int64_t>(n); ++length) {
      const auto source = open_tokens({path}, {length, 256});
      CHECK(source->samples() == (n - 1) / static_cast<std::uint64_t>(length));
    }
  }
}

TEST_CASE("Several files are one stream and windows run across their borders") {
  const test::TempFolder folder;
  std::vector<std::string> paths;
  std::string all;
  for (int i = 0; i < 100; ++i) {  // more than are kept open, some empty
    const std::string text(static_cast<std::size_t>(i % 4), static_cast<char>('A' + i % 50));
    paths.push_back(folder.write('f' + std::to_string(i), text));
    all += text;
  }
  const auto source = open_tokens(paths, {.seq_len = 7, .vocab_size = 256});
  CHECK(source->files() == 100);
  REQUIRE(source->tokens() == all.size());
  for (std::uint64_t k = 0; k < source->samples(); ++k) {
    const test::Sample sample = read_sample(*source, k);
    for (std::size_t i = 0; i < 7; ++i) {
      CHECK(sample.inputs[i] == all[k * 7 + i]);
      CHECK(sample.labels[i] == all[k * 7 + i + 1]);
    }
  }
}

TEST_CASE("Windows larger than one read are whole") {
  const test::TempFolder folder;
  const auto tokens = count_up<std::uint32_t>(100000);
  const std::string path =
      folder.write("a.npy", test::npy_1d("<u4", tokens.size(), bytes_of(tokens)));
  const auto source = open_tokens({path}, {.seq_len = 49999, .vocab_size = 100000});
  const test::Sample sample = read_sample(*source, 1);
  Row want(49999);
  std::iota(want.begin(), want.end(), 49999);
  CHECK(sample.inputs == want);
  std::iota(want.begin(), want.end(), 50000);
  CHECK(sample.labels == want);
}

TEST_CASE("Files of llm.c give their tokens in both widths") {
  const test::TempFolder folder;
  const std::vector<std::uint16_t> narrow{1, 2, 50256, 4, 5};
  const std::vector<std::uint32_t> wide{1, 2, 128000, 4, 5};
  const std::string first = folder.write("a.bin", test::llmc(20240520, 1, 5, narrow));
  CHECK(read_sample(*open_tokens({first}, {4, 50257}), 0).labels == Row{2, 50256, 4, 5});
  for (const std::int32_t version : {7, 1}) {
    const std::string second = folder.write("b.bin", test::llmc(20240801, version, 5, wide));
    CHECK(read_sample(*open_tokens({second}, {4, 128256}), 0).inputs == Row{1, 2, 128000, 4});
    CHECK(open_tokens({first, second}, {4, 128256})->tokens() == 10);
  }
}

TEST_CASE("Arrays of numpy give their tokens in each type") {
  const test::TempFolder folder;
  const auto check = [&](const std::string& descr, const std::string& data) {
    const std::string path = folder.write("a.npy", test::npy_1d(descr, 5, data));
    CHECK(read_sample(*open_tokens({path}, {4, 5}), 0).labels == Row{1, 2, 3, 4});
  };
  check("|u1", bytes_of(count_up<std::uint8_t>(5)));
  check("<u2", bytes_of(count_up<std::uint16_t>(5)));
  check("<u4", bytes_of(count_up<std::uint32_t>(5)));
  check("<i4", bytes_of(count_up<std::int32_t>(5)));
  check("<i8", bytes_of(count_up<std::int64_t>(5)));
}

TEST_CASE("An array numpy wrote gives the windows numpy gives") {
  const std::string path = std::string(SHERD_FIXTURES) + "/gpt2_parity/tokens.npy";
  const auto source = open_tokens({path}, {.seq_len = 16, .vocab_size = 64});
  REQUIRE(source->samples() == 4);
  CHECK(read_sample(*source, 0).inputs ==
        Row{60, 40, 43, 57, 37, 49, 53, 14, 3, 19, 18, 55, 58, 0, 31, 52});
  CHECK(read_sample(*source, 3).labels ==
        Row{2, 9, 32, 62, 29, 51, 58, 52, 40, 28, 32, 17, 31, 24, 15, 63});
}

TEST_CASE("Labels beside an array are used as they are, minus 100 included") {
  const test::TempFolder folder;
  const std::string path =
      folder.write("a.npy", test::npy_1d("<u2", 7, bytes_of(count_up<std::uint16_t>(7))));
  const std::vector<std::int32_t> labels{-100, 9, 8, -100, 7, 6, 5};
  folder.write("labels.npy", test::npy_1d("<i4", 7, bytes_of(labels)));
  for (const std::string& named : {path, folder.path()}) {
    const auto source = open_tokens({named}, {.seq_len = 3, .vocab_size = 10});
    CHECK(source->files() == 1);
    CHECK(source->samples() == 2);
    CHECK(read_sample(*source, 0).inputs == Row{0, 1, 2});
    CHECK(read_sample(*source, 0).labels == Row{-100, 9, 8});
    CHECK(read_sample(*source, 1).labels == Row{-100, 7, 6});
    source->check_tokens();
  }
}

TEST_CASE("check_tokens finds the last bad token and is content with good ones") {
  const test::TempFolder folder;
  std::vector<std::uint16_t> tokens(200001, 3);
  tokens.back() = 65535;
  const std::string path = folder.write(
      "a.bin", test::llmc(20240520, 1, static_cast<std::int32_t>(tokens.size()), tokens));
  open_tokens({path}, {.seq_len = 8, .vocab_size = 65536})->check_tokens();
  const auto source = open_tokens({path}, {.seq_len = 8, .vocab_size = 65535});
  const std::string message = test::message_of<DataError>([&] { source->check_tokens(); });
  CHECK(contains(message, "a.bin: has 65535"));
  CHECK(contains(message, "at byte " + std::to_string(1024 + 200000 * 2)));
}

TEST_CASE("The fingerprint changes with content, kind and labels and with nothing else") {
  const test::TempFolder folder;
  const auto print = [](const std::string& path, std::int64_t length = 2) {
    return open_tokens({path}, {length, 1000})->fingerprint();
  };
  const std::uint64_t text = print(folder.write("a", "abcd"));
  CHECK(text == print(folder.write("b", "abcd")));
  CHECK(text == print(folder.write("b", "abcd"), 3));
  CHECK(text != print(folder.write("b", "abce")));
  CHECK(text != print(folder.write("b", "abcda")));
  const std::string array = test::npy_1d("<u2", 3, bytes_of(count_up<std::uint16_t>(3)));
  const std::string path = folder.write("x/a.npy", array);
  const std::uint64_t bare = print(path);
  folder.write("x/labels.npy", test::npy_1d("<i4", 3, bytes_of(std::vector{1, 2, 3})));
  CHECK(bare != print(path));
  CHECK(bare != print(folder.write("raw", array)));
}

TEST_CASE("A wrong sample, shape or option is a broken precondition") {
  const test::TempFolder folder;
  const std::string path = folder.write("a", "abcdefg");
  const auto source = open_tokens({path}, {.seq_len = 3, .vocab_size = 256});
  CHECK_THROWS_AS((void)read_sample(*source, 2), UsageError);
  Row row(3);
  const View good{reinterpret_cast<std::byte*>(row.data()), {1, 3}, DType::i32};
  CHECK_THROWS_AS(source->read(0, good.reshaped({3, 1}), good), UsageError);
  CHECK_THROWS_AS((void)open_tokens({path}, {0, 256}), UsageError);
  CHECK_THROWS_AS((void)open_tokens({path}, {3, 0}), UsageError);
}

}  // namespace
}  // namespace sherd::data
