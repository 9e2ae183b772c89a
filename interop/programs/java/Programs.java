import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.util.Arrays;
import java.util.Comparator;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/**
 * Runs every program, each on its own, and counts.
 *
 * A program is a public method of one of the classes below. It takes the Broker, which removes what
 * the program owned when it is over. One that hangs fails the run at its deadline.
 */
public final class Programs {
    private static final Class<?>[] PROGRAMS = {
        HelloWorld.class, WorkQueue.class, Exchanges.class, Rpc.class, Confirms.class,
    };
    private static final int DEADLINE_S = 60;

    public static void main(String[] wanted) throws Exception {
        int passed = 0;
        int failed = 0;
        for (Class<?> type : PROGRAMS) {
            Method[] methods = type.getDeclaredMethods();
            Arrays.sort(methods, Comparator.comparing(Method::getName));
            for (Method method : methods) {
                String name = type.getSimpleName() + "." + method.getName();
                boolean is = java.lang.reflect.Modifier.isPublic(method.getModifiers());
                if (!is || wanted.length > 0 && Arrays.stream(wanted).noneMatch(name::contains)) {
                    continue;
                }
                Throwable error = run(method);
                if (error == null) {
                    passed++;
                    System.out.println("ok     " + name);
                } else {
                    failed++;
                    System.out.println("FAILED " + name);
                    error.printStackTrace(System.out);
                }
            }
        }
        System.out.printf("%d passed, %d failed, 0 skipped%n", passed, failed);
        System.exit(failed > 0 || passed == 0 ? 1 : 0);
    }

    @SuppressWarnings("try")
    private static Throwable run(Method method) {
        CompletableFuture<Void> done = new CompletableFuture<>();
        Thread thread = new Thread(() -> {
            try {
                try (Broker broker = new Broker()) {
                    method.invoke(null, broker);
                }
                done.complete(null);
            } catch (InvocationTargetException wrapped) {
                done.completeExceptionally(wrapped.getCause());
            } catch (Throwable error) {
                done.completeExceptionally(error);
            }
        });
        thread.setDaemon(true);
        thread.start();
        try {
            done.get(DEADLINE_S, TimeUnit.SECONDS);
            return null;
        } catch (java.util.concurrent.ExecutionException failed) {
            return failed.getCause();
        } catch (Exception late) {
            AssertionError error = new AssertionError("over its deadline");
            error.setStackTrace(thread.getStackTrace());
            return error;
        }
    }
}
