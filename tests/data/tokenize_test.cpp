#include "sherd/data/tokenize.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "data/tokenize_case.hpp"

namespace sherd::data {
namespace {

namespace fs = std::filesystem;
using test::contains;
using test::files_in;
using test::Ids;
using test::small_options;
using test::stopped_after;

/// Two documents and an empty one.
struct Corpus {
  test::TempFolder folder;
  Tokenizer tokenizer = test::small_tokenizer("llama3");
  std::string text = test::content_of(test::tokenizer_fixture("text.txt"));
  Corpus() {
    folder.write("in/a.txt", text);
    folder.write("in/b.txt", "");
    folder.write("in/c.txt", text.substr(text.size() / 2));
  }
  [[nodiscard]] std::string path(const std::string& name) const {
    return folder.path() + "/" + name;
  }
  [[nodiscard]] TokenizeOptions options(const std::string& out) const {
    return small_options({path("in")}, path(out), tokenizer);
  }
  [[nodiscard]] Ids tokens() const {
    Encoder encoder(tokenizer);
    Ids ids;
    for (const std::string& part : {text, text.substr(text.size() / 2)}) {
      encoder.encode(part, ids);
      ids.push_back(*tokenizer.end_of_document());
    }
    return ids;
  }
};

TEST_CASE("A folder of tokens holds the tokens of each file and what ends it") {
  const Corpus corpus;
  const Tokenized made = tokenize(corpus.tokenizer, corpus.options("out"));
  const Ids want = corpus.tokens();
  CHECK(made.tokens == want.size());
  CHECK(made.documents == 2);
  CHECK(made.sources == 3);
  CHECK(made.shards > 10);
  const auto source = open_tokens({corpus.path("out")}, {1, 3003});
  REQUIRE(source->tokens() == want.size());
  for (std::uint64_t i = 0; i < source->samples(); ++i)
    REQUIRE(test::read_sample(*source, i).inputs[0] == static_cast<std::int32_t>(want[i]));
  source->check_tokens();
  CHECK(fs::exists(corpus.path("out/manifest.json")));
  CHECK_FALSE(fs::exists(test::hidden_name(corpus.folder.path(), "out")));
}

TEST_CASE("The same bytes come out whatever the threads") {
  const Corpus corpus;
  tokenize(corpus.tokenizer, corpus.options("one"));
  for (const int threads : {1, 3, 7}) {
    TokenizeOptions options = corpus.options("more" + std::to_string(threads));
    options.threads = threads;
    tokenize(corpus.tokenizer, options);
    CHECK(files_in(options.out) == files_in(corpus.path("one")));
  }
}

TEST_CASE("A stopped run shows nothing, is gone on with, and ends as one that was not stopped") {
  const Corpus corpus;
  tokenize(corpus.tokenizer, corpus.options("whole"));
  const auto want = files_in(corpus.path("whole"));
  for (const int calls : {0, 1, 4, 8, 11}) {
    const TokenizeOptions options = corpus.options("out" + std::to_string(calls));
    REQUIRE(stopped_after(calls, corpus.tokenizer, options));
    CHECK_FALSE(fs::exists(options.out));
    (void)stopped_after(2, corpus.tokenizer, options);
    const Tokenized made = tokenize(corpus.tokenizer, options);
    CHECK(made.kept >= static_cast<std::size_t>(calls));
    CHECK(files_in(options.out) == want);
  }
}

TEST_CASE("A finished shard that was damaged is made again, and so is a lost note") {
  const Corpus corpus;
  tokenize(corpus.tokenizer, corpus.options("whole"));
  const auto want = files_in(corpus.path("whole"));
  const std::string hidden = test::hidden_name(corpus.folder.path(), "out");
  const auto stop_and = [&](const auto& harm) {
    REQUIRE(stopped_after(8, corpus.tokenizer, corpus.options("out")));
    harm();
    const Tokenized made = tokenize(corpus.tokenizer, corpus.options("out"));
    CHECK(files_in(corpus.path("out")) == want);
    fs::remove_all(corpus.path("out"));
    return made.kept;
  };
  const std::size_t all = stop_and([] {});
  CHECK(all > 6);
  CHECK(stop_and([&] {
          std::string content = test::content_of(hidden + "/000002.bin");
          content.back() ^= 1;
          corpus.folder.write(".out.unfinished/000002.bin", content);
        }) == 2);
  CHECK(stop_and([&] { fs::remove(hidden + "/000000.bin"); }) == 0);
  CHECK(stop_and([&] { fs::resize_file(hidden + "/.progress.json", 100); }) == 0);
  CHECK(stop_and([&] { corpus.folder.write(".out.unfinished/999999.bin", "left"); }) == all);
}

TEST_CASE("Text, settings or tokenizer that changed under way are never mixed") {
  const Corpus corpus;
  REQUIRE(stopped_after(8, corpus.tokenizer, corpus.options("out")));
  std::string other = corpus.text;
  other[10] ^= 1;
  corpus.folder.write("in/a.txt", other);
  const auto run = [&](const TokenizeOptions& options) {
    return test::message_of<DataError>([&] { (void)tokenize(corpus.tokenizer, options); });
  };
  CHECK(contains(run(corpus.options("out")), ".out.unfinished: was begun with other text"));
  TokenizeOptions without = corpus.options("out");
  without.separator.reset();
  CHECK(run(without).empty());  // another request begins anew
  CHECK(contains(run(corpus.options("out")), "holds tokens of another tokenizer, text or setting"));
  CHECK(run(without).empty());
  corpus.folder.write("in/a.txt", corpus.text);
  CHECK(contains(run(without), "a.txt had other content"));
}

TEST_CASE("What is there already from the same request is verified and left") {
  const Corpus corpus;
  const Tokenized made = tokenize(corpus.tokenizer, corpus.options("out"));
  const Tokenized again = tokenize(corpus.tokenizer, corpus.options("out"));
  CHECK(again.kept == made.shards);
  CHECK(again.tokens == made.tokens);
  fs::resize_file(corpus.path("out/000003.bin"), 1030);
  CHECK(contains(
      test::message_of<DataError>([&] { (void)tokenize(corpus.tokenizer, corpus.options("out")); }),
      "000003.bin: has 1030 bytes"));
}

TEST_CASE("Folders that hold something else, and those another run works on, are refused") {
  const Corpus corpus;
  const auto run = [&](const std::string& out) {
    return test::message_of<DataError>(
        [&] { (void)tokenize(corpus.tokenizer, corpus.options(out)); });
  };
  CHECK(contains(run("in"), "in: exists and holds no tokens"));
  fs::create_directory(corpus.path("empty"));
  CHECK(run("empty").empty());
  CHECK(run("deep/er/out/").empty());
  const std::string hidden = test::hidden_name(corpus.folder.path(), "out");
  fs::create_directory(hidden);
  const int other = ::open(hidden.c_str(), O_RDONLY | O_DIRECTORY);
  REQUIRE(::flock(other, LOCK_EX) == 0);
  CHECK(contains(run("out"), "another run is at work"));
  ::close(other);
  CHECK(run("out").empty());
}

TEST_CASE("Tokens above 65535 are written with four bytes") {
  const test::TempFolder folder;
  auto file = nlohmann::json::parse(test::content_of(test::tokenizer_fixture("llama3.json")));
  file["added_tokens"][1]["id"] = 70000;  // <|end_of_text|>
  const Tokenizer tokenizer(file.dump(), "large");
  const TokenizeOptions options =
      small_options({folder.write("a.txt", "human rights")}, folder.path() + "/out", tokenizer);
  tokenize(tokenizer, options);
  const auto source = open_tokens({options.out}, {1, 70001});
  CHECK(test::read_sample(*source, source->samples() - 1).labels == test::Row{70000});
  CHECK(source->tokens() * 4 + 1024 == fs::file_size(options.out + "/000000.bin"));
}

TEST_CASE("Folders of tokens are read with all that their manifest promises") {
  const Corpus corpus;
  tokenize(corpus.tokenizer, corpus.options("out"));
  const std::string out = corpus.path("out");
  const TokenOptions options{16, 3003};
  CHECK(test::folder_refusal({out}, options).empty());
  CHECK(
      contains(test::folder_refusal({out}, {16, 3002}), "tokenizer has 3003 tokens, need at most"));
  CHECK(test::folder_refusal({out}, {16, 3003, corpus.tokenizer}).empty());
  CHECK(contains(test::folder_refusal({out}, {16, 3003, test::small_tokenizer("gpt2")}),
                 "was made with another tokenizer"));
  CHECK(contains(test::folder_refusal({out, corpus.path("in")}, options), "need one kind"));
  std::string shard = test::content_of(out + "/000001.bin");
  shard[2000] ^= 1;
  corpus.folder.write("out/000001.bin", shard);
  CHECK(
      contains(test::folder_refusal({out}, options), "000001.bin: is not what its manifest says"));
  fs::resize_file(out + "/000001.bin", shard.size() - 2);
  CHECK(contains(test::folder_refusal({out}, options), "000001.bin"));
  fs::remove(out + "/000001.bin");
  CHECK(contains(test::folder_refusal({out}, options), "000001.bin: cannot be opened"));
}

TEST_CASE("Manifests that lie are refused by name") {
  const Corpus corpus;
  tokenize(corpus.tokenizer, corpus.options("out"));
  const auto good = nlohmann::json::parse(test::content_of(corpus.path("out/manifest.json")));
  const auto with = [&](const char* pointer, const nlohmann::json& value) {
    auto changed = good;
    changed[nlohmann::json::json_pointer(pointer)] = value;
    corpus.folder.write("out/manifest.json", changed.dump());
    return test::folder_refusal({corpus.path("out")}, {16, 3003});
  };
  CHECK(with("/request", "any").empty());
  CHECK(contains(with("/format", "sherd tokens 2"), "need 'sherd tokens 1'"));
  CHECK(contains(with("/tokens", 5), "do not add up"));
  CHECK(contains(with("/tokens", -5), "'tokens' is no whole number"));
  CHECK(contains(with("/token_type", "f32"), "neither u16 nor u32"));
  CHECK(contains(with("/examples", true), "too many or few files"));
  CHECK(contains(with("/shards/0/tokens", nullptr), "'tokens' is no whole number"));
  for (const char* name : {"../a.bin", "/etc/passwd", "", "a//b", ".hidden", "a/../b", "a/"})
    CHECK(contains(with("/shards/0/files/0/name", name), "need one in its folder"));
  CHECK(contains(with("/shards/0/files/0/bytes", 5), "by its manifest"));
  corpus.folder.write("out/manifest.json", "{");
  CHECK(contains(test::folder_refusal({corpus.path("out")}, {16, 3003}), "not valid JSON"));
}

}  // namespace
}  // namespace sherd::data
